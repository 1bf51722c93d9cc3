"""Nothing is silent: on a terminal a line says what works; what loops over units counts them."""

import ast
import importlib
import inspect
import os
import pty
import sys
from pathlib import Path

import pytest

from inoc.cli import COMMANDS, waiting

ROOT = Path(waiting.__file__).parent
SCRIPT = """
import sys, time
from inoc.cli import waiting
waiting.QUIET, waiting.EVERY = 0.0, 0.01
with waiting.announced({arguments!r}):
    for line in ("first", "second"):
        time.sleep(0.3)
        print(line, file={stream})
print("end", file=sys.stderr)
"""


def on_a_terminal(arguments: list[str], stream: str) -> str:
    """What a command writes whose stdout and stderr are one terminal."""
    child, terminal = pty.fork()
    if child == 0:
        os.execv(sys.executable, [sys.executable, "-c", SCRIPT.format(arguments=arguments, stream=stream)])
    parts = []
    while True:
        try:
            parts.append(os.read(terminal, 4096))
        except OSError:  # the other end is closed
            break
        if not parts[-1]:
            break
    os.waitpid(child, 0)
    os.close(terminal)
    return b"".join(parts).decode()


def seen(text: str) -> list[str]:
    """The lines as they stay on the terminal."""
    return [line.rstrip("\r").split(waiting.ERASE)[-1] for line in text.split("\n")]


@pytest.mark.parametrize("stream", ["sys.stdout", "sys.stderr"])
def test_a_line_says_what_works_and_leaves_no_trace(stream):
    text = on_a_terminal(["--debug", "outcomes", "--store", "x"], stream)
    assert "inoc outcomes: working, 0:00" in text.split("first")[0]
    assert "inoc outcomes: working" in text.split("first")[1].split("second")[0]
    assert seen(text) == ["first", "second", "end", ""]


def test_a_server_waits_in_silence():
    assert "working" not in on_a_terminal(["view", "x"], "sys.stdout")


def test_nothing_is_added_where_stderr_is_no_terminal(capsys, monkeypatch):
    monkeypatch.setattr(waiting, "QUIET", -1.0)
    before = sys.stdout.write
    with waiting.announced(["outcomes"]):
        assert sys.stdout.write == before
        sys.stdout.write("result\n")
    assert capsys.readouterr() == ("result\n", "")


def silent_calls(source: str) -> list[str]:
    """Functions of inoc that take a progress (or a watcher) and are called without one."""
    tree = ast.parse(source)
    known = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("inoc."):
            module = importlib.import_module(str(node.module))
            known |= {alias.asname or alias.name: getattr(module, alias.name, None) for alias in node.names}
    found = []
    for node in ast.walk(tree):
        function = known.get(node.func.id) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else None
        if not inspect.isfunction(function):
            continue
        names = list(inspect.signature(function).parameters)
        wanted = [name for name in ("progress", "watcher") if name in names]
        given = {*names[: len(node.args)], *(keyword.arg for keyword in node.keywords)}
        if wanted and not given & {*wanted, None}:
            found.append(f"{node.func.id} (line {node.lineno})")
    return found


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_the_progress_of_what_it_calls(name):
    path = ROOT / f"{'import_' if name == 'import' else name.replace('-', '_')}.py"
    assert silent_calls(path.read_text()) == []


def test_a_planted_silence_is_found():
    source = "from inoc.store.validate import validate\nvalidate(store)\nvalidate(store, progress)\n"
    assert silent_calls(source) == ["validate (line 2)"]
