"""pyright is strict nearly everywhere: few files switch a report off at their head."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
SHARE = 0.03
"""Files that may: those whose every line is at the border of JAX, torch, transformers or matplotlib."""


def switched_off(folder: Path) -> list[str]:
    """The files that switch a report off for all their lines."""
    return [str(p) for p in sorted(folder.rglob("*.py")) if re.search(r"^# pyright:", p.read_text(), re.MULTILINE)]


def test_few_files_switch_reports_off() -> None:
    off = switched_off(ROOT / "inoc")
    most = SHARE * len(list((ROOT / "inoc").rglob("*.py")))
    assert len(off) <= most, (
        f"at most {most:.0f} files may: {off}. Fix: a stub in typings/, or name the rule on its line."
    )


def test_a_planted_file_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("x = 1  # pyright: ignore[reportUnknownMemberType]\n")
    assert switched_off(tmp_path) == []
    (tmp_path / "b.py").write_text('"""B."""\n# pyright: reportUnknownMemberType=false\n')
    assert switched_off(tmp_path) == [str(tmp_path / "b.py")]
