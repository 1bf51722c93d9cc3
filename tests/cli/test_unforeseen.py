"""No error ends in a traceback on the screen: a sentence, exit code 1, and a file to report."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from inoc import cli
from inoc.cli.unforeseen import explained
from inoc.errors import BadInput
from inoc.plugins import Registry


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))

    def called(body: Callable[[], None], *arguments: str) -> tuple[int, str]:
        command = click.Command("info", callback=body)
        monkeypatch.setattr(cli, "load", lambda name: command)
        with pytest.raises(SystemExit) as end:
            cli.main(["info", *arguments])
        assert isinstance(end.value.code, int)
        return end.value.code, capsys.readouterr().err

    return called


def fails(error: BaseException) -> Callable[[], None]:
    def body() -> None:
        raise error

    return body


@pytest.mark.parametrize(
    "error",
    [
        ValueError("a\nb"),
        KeyError("x"),
        RecursionError(),
        MemoryError(),
        SystemExit(0),
        OSError(28, "No space left on device", "/x/y"),
        RuntimeError("\x1b[2Jcleared \ud800"),
        ExceptionGroup("several", [ValueError("a")]),
    ],
)
def test_one_sentence_and_a_file(run, tmp_path: Path, error: BaseException) -> None:
    code, said = run(fails(error))
    assert code == 1
    assert said.count("\n") == 1
    assert "Traceback" not in said
    assert "\x1b" not in said
    (log,) = tmp_path.glob("inoc-*.log")
    assert str(log) in said
    assert "Traceback (most recent call last)" in log.read_text()
    assert "inoc info" in log.read_text()


def test_the_file_and_the_reason_of_the_system(run) -> None:
    code, said = run(fails(OSError(28, "No space left on device", "/x/y")))
    assert code == 1
    assert said.startswith("inoc: /x/y: No space left on device.")


def test_debug_anywhere_prints_it(run, tmp_path: Path) -> None:
    code, said = run(fails(ValueError("here")), "--debug")
    assert code == 1
    assert "Traceback (most recent call last)" in said
    assert not list(tmp_path.glob("inoc-*.log"))


def test_no_room_for_the_file(run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", "/nowhere")
    code, said = run(fails(ValueError("here")))
    assert code == 1
    assert "--debug" in said
    assert said.count("\n") == 1


def test_expected_errors_stay_as_they_are(run, tmp_path: Path) -> None:
    assert run(fails(BadInput("bad \x1b[1m. Fix: x."))) == (2, "inoc: bad \\x1b[1m. Fix: x.\n")
    assert run(fails(KeyboardInterrupt()))[0] == 130
    assert not list(tmp_path.iterdir())


def test_a_failing_plugin_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    about = tmp_path / "fragile-3.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: fragile\nVersion: 3.1\n")
    (about / "entry_points.txt").write_text("[inoc.judges]\nglass = fragile_judge.main:Glass\n")
    package = tmp_path / "fragile_judge"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "main.py").write_text(
        "import os\nclass Glass:\n    def score(self, path):\n        return os.stat(path)\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    registry = Registry("inoc.judges", "judge", {}, lambda loaded, plugin: loaded)
    glass = registry.get("glass")()
    with pytest.raises(FileNotFoundError) as caught:
        glass.score("/nowhere")
    said = explained(caught.value, ["score"], False)
    assert said.startswith("Glass.score of the plugin fragile 3.1 failed (FileNotFoundError: ")


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [["backends"], ["--help"], ["info", "--help"]])
def test_a_full_stdout(arguments: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        found = subprocess.run(
            [sys.executable, "-m", "inoc", *arguments], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert found.returncode == 1
    assert found.stderr.startswith("inoc: No space left on device.")
    assert "Traceback" not in found.stderr
    assert "Exception ignored" not in found.stderr


@pytest.mark.slow
def test_a_terminal_without_the_characters() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    found = subprocess.run(
        [sys.executable, "-m", "inoc", "info", "/n\u00f6where"], env=environment, capture_output=True, check=False
    )
    assert found.returncode == 2
    assert b"Traceback" not in found.stderr
