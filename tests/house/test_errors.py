"""An error says what failed, where, and ends with `Fix: ...` where there is something to do."""

import ast
from functools import cache
from pathlib import Path

import pytest

from inoc import errors

from .words import strings

ROOT = Path(__file__).parents[2]
ERRORS = {name for name, value in vars(errors).items() if isinstance(value, type)}
SAYS_THE_FIX = {"unknown"}
"""Functions that write the whole sentence, with its fix."""

# errors without a fix, by room: where there is nothing to do. The numbers only go down.
CAPS = {
    "inoc/backends": 61,
    "inoc/chat.py": 1,
    "inoc/cli": 3,
    "inoc/experiment": 3,
    "inoc/figures": 12,
    "inoc/heuristics": 5,
    "inoc/judge": 2,
    "inoc/outcomes": 1,
    "inoc/services": 1,
    "inoc/stages": 8,
    "inoc/store": 19,
}


def without_fix(source: str) -> list[tuple[int, str]]:
    """Line and text of every error raised with a message of its own that has no fix."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Raise) or not isinstance(node.exc, ast.Call):
            continue
        if ast.unparse(node.exc.func).rpartition(".")[2] not in ERRORS or not node.exc.args:
            continue
        message = node.exc.args[0]
        calls = {ast.unparse(call.func) for call in ast.walk(message) if isinstance(call, ast.Call)}
        text = " ".join(text for _, text in strings(message))
        if text and "Fix: " not in text and not calls & SAYS_THE_FIX:
            found.append((node.lineno, text))
    return found


@cache
def counted() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for path in sorted((ROOT / "inoc").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        room = "/".join(name.split("/")[:2])
        found.setdefault(room, []).extend(f"{name}:{line}: {text}" for line, text in without_fix(path.read_text()))
    return found


@pytest.mark.parametrize("room", list(counted()))
def test_errors_say_the_fix(room):
    lines, cap = counted()[room], CAPS.get(room, 0)
    assert len(lines) <= cap, f"{len(lines)} errors without `Fix: ...`, {cap} allowed:\n" + "\n".join(lines)


@pytest.mark.parametrize(
    ("source", "count"),
    [
        ("raise BadInput(f'{path} is empty.')", 1),
        ("raise errors.IncompleteStore('no scores')", 1),
        ("raise BadInput(f'{path} is empty. Fix: add a line.') from None", 0),
        ("raise BadInput(\n    f'{path} has {n} lines. '\n    f'Fix: add {m} lines.'\n)", 0),
        ("raise BadInput(unknown('run', name, known))", 0),
        ("raise BadInput(sentence)", 0),
        ("raise ValueError('not for users')", 0),
    ],
)
def test_a_planted_error_without_a_fix_is_found(source, count):
    assert len(without_fix(source)) == count
