"""YAML with line numbers: what pydantic is given, and the line of each field.

Scalars follow the YAML 1.2 core schema: `no`, `on` and `off` are text (a prompt key, a language) and
`1e-4` is a number. A key given twice is an error, never "the last one wins". Size, depth and what anchors
multiply are bounded; no tag makes anything but text, numbers, lists and mappings.
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import yaml

from inoc.reading import MAX_DEPTH, UNPRINTABLE, printable
from inoc.values import Json

Loc = tuple[str | int, ...]
MAX_BYTES = 1 << 20
"""Bytes of an experiment file."""
MAX_VALUES = 100_000
"""Values of an experiment file, those repeated by anchors counted each time."""
_CORE = "tag:yaml.org,2002:"


class Problem(NamedTuple):
    """One thing wrong with a file: the field, what is wrong with its fix, and the line."""

    field: str
    message: str
    line: int | None = None
    severity: str = "error"
    """ "error", or "note" for a remark that stops nothing."""

    def __str__(self) -> str:
        place = f"line {self.line}: " if self.line else ""
        name = f"{self.field}: " if self.field else ""
        note = "note: " if self.severity == "note" else ""
        return f"{place}{note}{name}{self.message}"


@dataclass(frozen=True)
class Document:
    """The parsed file. `lines` maps the path of a field to its line, from 1."""

    data: Json
    lines: dict[Loc, int] = field(default_factory=lambda: {})
    problems: tuple[Problem, ...] = ()

    def line(self, loc: Loc) -> int | None:
        """The line of the field, or of the nearest enclosing field that is written in the file."""
        known = [part for part in loc]
        while known:
            if tuple(known) in self.lines:
                return self.lines[tuple(known)]
            known.pop()
        return 1 if self.lines else None


class _Loader(yaml.SafeLoader):
    """SafeLoader with the scalars of YAML 1.2."""

    yaml_implicit_resolvers = {}  # noqa: RUF012  (as declared by PyYAML)


for _tag, _pattern, _first in (
    ("bool", r"^(?:true|True|TRUE|false|False|FALSE)$", "tTfF"),
    ("null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("int", r"^[-+]?[0-9]+$", "-+0123456789"),
    ("float", r"^[-+]?(?:\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))(?:[eE][-+]?[0-9]+)?$", "-+.0123456789"),
    ("merge", r"^<<$", "<"),
):
    _Loader.add_implicit_resolver(  # pyright: ignore[reportUnknownMemberType]
        f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), list(_first)
    )


def parse_yaml(text: str) -> Document:
    """Parse one YAML document. Syntax errors and duplicate keys come back as problems, not exceptions."""
    try:
        node = yaml.compose(text, _Loader)  # pyright: ignore[reportUnknownMemberType]
        if node is None:
            return _broken("the file is empty. Fix: `inoc new FILE` writes one to start from.")
        if _values(node, {}) > MAX_VALUES:
            message = f"more than {MAX_VALUES:,} values with anchors written out (one that holds itself never ends)."
            return _broken(f"{message} Fix: write the fields without anchors.")
        lines: dict[Loc, int] = {}
        problems = tuple(_walk(node, (), lines))
        if any(problem.severity == "unreadable" for problem in problems):
            return Document(None, lines, tuple(problem._replace(severity="error") for problem in problems))
        data = _Loader("").construct_document(node)  # pyright: ignore[reportUnknownMemberType]
        return Document(data, lines, problems)
    except RecursionError:
        return _broken(f"nested deeper than {MAX_DEPTH} levels. Fix: write plain fields.")
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = " YAML is indented with spaces, not tabs." if "\\t" in str(error.problem) else ""
        what = str(error.problem or error.context)
        message = f"not valid YAML: {what}.{hint} Fix: put text with ': ' or '#' in it in quotes."
        return _broken(message, mark.line + 1 if mark else None)
    except (yaml.YAMLError, ValueError, KeyError) as error:
        first = printable(str(error)).partition("\n")[0]
        return _broken(f"not valid YAML: {first}. Fix: write plain text, without control characters.")


def _broken(message: str, line: int | None = None) -> Document:
    return Document(None, problems=(Problem("", message, line),))


def _values(node: yaml.Node, known: dict[int, int]) -> int:
    """How many values a node is once its anchors are written out; one that holds itself is more than any number."""
    if id(node) not in known:
        known[id(node)] = MAX_VALUES
        parts = [part for pair in node.value for part in pair] if isinstance(node, yaml.MappingNode) else node.value
        inside = [] if isinstance(node, yaml.ScalarNode) else parts
        known[id(node)] = 1 + sum(_values(part, known) for part in inside)
    return known[id(node)]


def _walk(node: yaml.Node, loc: Loc, lines: dict[Loc, int]) -> Iterator[Problem]:
    """Record the line of every field; yield what is not plain data, duplicate keys and keys that are not text."""

    def problem(message: str, at: yaml.Node, place: Loc = loc) -> Problem:
        return Problem(printable(dotted(place)), message, at.start_mark.line + 1)

    unreadable = _unreadable(node)
    if len(loc) > MAX_DEPTH:
        unreadable = f"nested deeper than {MAX_DEPTH} levels. Fix: write plain fields."
    if unreadable:
        yield problem(unreadable, node)._replace(severity="unreadable")
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            if key.tag == f"{_CORE}merge":
                continue
            name = str(key.value) if isinstance(key, yaml.ScalarNode) else "?"
            place = (*loc, name)
            if not isinstance(key, yaml.ScalarNode) or _unreadable(key):
                message = _unreadable(key) or "a list or mapping is not a key. Fix: write text before the colon."
                yield problem(message, key, place)._replace(severity="unreadable")
            elif key.tag != f"{_CORE}str":
                yield problem(f"the key {name} is not text. Fix: put it in quotes.", key, place)
            if name in seen:
                message = f"this key is given twice, first on line {seen[name]}. Fix: keep one or rename the other."
                yield problem(message, key, place)
            lines[place] = key.start_mark.line + 1
            seen.setdefault(name, lines[place])
            yield from _walk(value, place, lines)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*loc, index)] = value.start_mark.line + 1
            yield from _walk(value, (*loc, index), lines)


def _unreadable(node: yaml.Node) -> str:
    """Why a node is not plain data, with the fix; "" where it is."""
    kind, text = node.tag.removeprefix(_CORE), str(node.value) if isinstance(node, yaml.ScalarNode) else ""
    container = "map" if isinstance(node, yaml.MappingNode) else "seq"
    if kind not in (("str", "int", "float", "bool", "null") if isinstance(node, yaml.ScalarNode) else (container,)):
        return f"the tag {printable(node.tag)} is not read. Fix: remove it and write plain text or numbers."
    if UNPRINTABLE.search(text):
        return "holds a control character or half a character. Fix: remove it."
    if kind == "int" and (len(text) > 20 or abs(int(text)) >= 1 << 63):
        return "a whole number beyond 64 bits. Fix: correct the number, or put text in quotes."
    if kind == "float" and not math.isfinite(float(text)):
        return "not a finite number. Fix: correct the number, or put text in quotes."
    return ""


def dotted(loc: Loc) -> str:
    """`("training", "runs", 0, "seeds")` as `training.runs[0].seeds`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
