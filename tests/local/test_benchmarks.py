"""The benchmarks that need a card or minutes run with tiny sizes here, so that they run when there is one."""

import subprocess
import sys

import pytest

from benchmarks.precision import row


@pytest.mark.slow
def test_every_step_of_the_benchmark_of_a_card_runs_on_the_cpu() -> None:
    done = subprocess.run([sys.executable, "-m", "benchmarks.gpu", "--dry"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = done.stdout.strip().splitlines()[-5:]
    assert [line.split("|")[1].strip() for line in rows] == [
        "heuristics", "scoring", "training", "collectives", "sampling",
    ]  # fmt: skip
    assert "losses finite: True" in rows[2]
    assert "right: True" in rows[3]


def test_an_error_of_precision_is_in_units_of_the_spread() -> None:
    import numpy as np

    exact = np.array([[0.0], [2.0], [0.0], [2.0]])
    assert row("ph", exact, exact + np.array([[0.0], [0.1], [0.0], [-0.3]])) == "| `ph` | 1 | 0.0500 | 0.300 |"
    assert row("constant", np.ones((4, 1)), np.ones((4, 1))) is None
