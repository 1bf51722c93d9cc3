"""What is loaded when: `import inoc` and `inoc --help` cost nothing, heuristics need no JAX."""

import subprocess
import sys
from pathlib import Path

import pytest

from inoc.cli import COMMANDS

ROOT = Path(__file__).parents[2] / "inoc"
HEAVY = {"jax", "xarray", "pandas", "zarr", "numpy", "scipy", "torch", "transformers", "matplotlib", "pydantic"}


def imported(code: str) -> set[str]:
    """Top-level modules loaded after running `code` in a fresh interpreter."""
    code += "\nimport sys; print(' '.join(sorted({m.partition('.')[0] for m in sys.modules})))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


HELP = """
from inoc.cli import cli
from click.testing import CliRunner
assert CliRunner().invoke(cli, ["--help"]).exit_code == 0
"""


def test_help_imports_nothing_heavy():
    assert not imported(HELP) & HEAVY
    assert not imported("import inoc") & HEAVY


def test_heuristics_import_no_jax_xarray_or_pandas():
    assert not imported("import inoc.heuristics, inoc.heuristics.frame.rows") & (HEAVY - {"numpy"})


def test_opening_a_store_and_computing_needs_no_xarray(tmp_path):
    code = (
        "from inoc.store.writer import StoreWriter\nimport numpy as np, inoc\n"
        "from inoc.store.schema import Unit\nfrom inoc.heuristics.frame.table import measure\n"
        f"with StoreWriter.open({str(tmp_path / 'w.zarr')!r}, identity={{}}, experiment={{}}, provenance={{}}) as w:\n"
        "    w.put_prompts([{'key': 'a', 'text': 'a'}])\n"
        "    w.put_completions('train', example_ids=['0', '1'], row_size=np.array([2, 1]))\n"
        "    w.plan('train', prefix_types=('fixed',), prompts=('a',))\n"
        "    w.put_default('train', np.array([-1, -2, -3], np.float32))\n"
        "    w.put_unit(Unit('train', 'fixed', 'a'), np.array([-1, -1, -1], np.float32))\n"
        f"measure(inoc.open_store({str(tmp_path / 'w.zarr')!r}))\n"
    )
    assert not imported(code) & {"jax", "xarray", "pandas", "sklearn", "torch"}


def test_tables_and_the_report_start_without_a_statistics_package():
    """They take longer to import than the tables."""
    code = "import inoc.outcomes, inoc.outcomes.advice, inoc.exports, inoc.report\nimport sys; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "inoc.outcomes.gate" in loaded
    assert not {"scipy.stats", "scipy.optimize", "sklearn", "matplotlib"} & set(loaded)


def test_help_imports_no_command():
    code = HELP + "\nimport sys; print(*(m for m in sys.modules if m.startswith('inoc.')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    rooms = {module.split(".")[1] for module in done.stdout.split()}
    assert rooms <= {"_version", "cli", "errors", "names", "reading", "values"}
    commands = {f"inoc.cli.{command.rstrip('_')}" for command in COMMANDS}
    assert not commands & set(done.stdout.split())


def test_public_names():
    import inoc

    for name in inoc.__all__:
        assert getattr(inoc, name) is not None
    assert callable(inoc.heuristics.compute)
    assert len((ROOT / "__init__.py").read_text().splitlines()) < 80
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        inoc.nothing
