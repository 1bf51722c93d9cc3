"""From own logprobs to a recommendation: the commands of the README, as they are there, on the files it names."""

import re
import shutil
from pathlib import Path

import pytest

from ..command_line import run_inoc

ROOT = Path(__file__).parents[2]


def test_the_five_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    section = (ROOT / "README.md").read_text("utf-8").partition("## Your own logprobs")[2]
    block = re.search(r"```\n(.*?)```", section, re.DOTALL)
    assert block is not None
    install, *commands = (line.partition(" #")[0].split() for line in block[1].splitlines())
    assert install == ["pip", "install", "."]
    assert len(commands) == 4
    for path in (ROOT / "examples" / "logprobs").glob("*.json"):
        shutil.copy(path, tmp_path)
    monkeypatch.chdir(tmp_path)
    said = {}
    for _, name, *arguments in commands:
        code, said[name], err = run_inoc(name, *arguments)
        assert code == 0, err
    assert "answer_playfully (fixed, measured): held back 92 [90, 94], lost 45" in said["recommend"]
    assert "Runs that would narrow these answers most" in said["recommend"]
    assert (tmp_path / "report.html").stat().st_size > 50_000
