"""The documentation site builds without a warning: every link leads somewhere, every tutorial runs."""

import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


def build(out: Path, *options: str, source: Path = DOCS) -> tuple[int, str]:
    """Exit code of Sphinx, with warnings as errors, and what it says; the site is in `out`."""
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", *options]
    done = subprocess.run([*command, str(source), str(out)], capture_output=True, text=True, check=False)
    return done.returncode, done.stderr


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_site_builds_with_the_tutorials_run(tmp_path: Path) -> None:
    code, said = build(tmp_path)
    assert code == 0, said
    assert 'id="inoc.outcomes.suppression"' in (tmp_path / "reference" / "inoc.outcomes.html").read_text()


@pytest.mark.slow
def test_a_broken_link_and_a_failing_cell_are_found(tmp_path: Path) -> None:
    source = tmp_path / "pages"
    source.mkdir()
    (source / "start.md").write_text("# Start\n\n[a](gone.md) [b](#nowhere)\n\n```{toctree}\nlesson\n```\n")
    head = "---\nfile_format: mystnb\nkernelspec: {name: python3, display_name: Python 3}\n---\n# Lesson\n\n"
    (source / "lesson.md").write_text(head + "```{code-cell}\n1 / 0\n```\n")
    code, said = build(tmp_path / "out", "-c", str(DOCS), "-D", "root_doc=start", source=source)
    assert code != 0
    for fault in ("ZeroDivisionError", "gone.md", "nowhere"):
        assert fault in said
