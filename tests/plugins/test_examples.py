"""The plugins of examples/plugins: short, and each passes its own tests where it is importable."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted(path.parent for path in (ROOT / "examples" / "plugins").glob("*/pyproject.toml"))
NEEDS = {"trl": "trl"}


def modules(example: Path) -> list[Path]:
    return [path for path in example.glob("*.py") if not path.name.startswith("test_")]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_under_150_lines(example: Path) -> None:
    (module,) = modules(example)
    assert len(module.read_text(encoding="utf-8").splitlines()) < 150


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_an_example_passes_its_tests(example: Path) -> None:
    if example.name in NEEDS and find_spec(NEEDS[example.name]) is None:
        pytest.skip(f"{NEEDS[example.name]} is not installed")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(example)])}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", str(example), str(example)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=280, cwd=example)
    assert run.returncode == 0, run.stdout[-3000:] + run.stderr[-2000:]
    assert "passed" in run.stdout
