"""YAML with line numbers: what pydantic is given, and the line of each field.

Scalars follow the YAML 1.2 core schema: `no`, `on` and `off` are text (a prompt key, a language) and
`1e-4` is a number. A key given twice is an error, never "the last one wins".
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import yaml

from inoc.values import Json

Loc = tuple[str | int, ...]


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
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return _broken("the file is empty. Fix: `inoc new FILE` writes one to start from.")
        lines: dict[Loc, int] = {}
        problems = tuple(_walk(node, (), lines, set()))
        data = loader.construct_document(node)  # pyright: ignore[reportUnknownMemberType]
        return Document(data, lines, problems)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        hint = " YAML is indented with spaces, not tabs." if "\\t" in str(error.problem) else ""
        what = str(error.problem or error.context)
        message = f"not valid YAML: {what}.{hint} Fix: put text with ': ' or '#' in it in quotes."
        return _broken(message, mark.line + 1 if mark else None)
    except (yaml.YAMLError, ValueError) as error:
        return _broken(f"not valid YAML: {error}.")
    finally:
        loader.dispose()


def _broken(message: str, line: int | None = None) -> Document:
    return Document(None, problems=(Problem("", message, line),))


def _walk(node: yaml.Node, loc: Loc, lines: dict[Loc, int], above: set[int]) -> Iterator[Problem]:
    """Record the line of every field; yield duplicate keys and keys that are not text."""
    if id(node) in above:
        yield Problem(dotted(loc), "refers to itself through an anchor. Fix: write it out.", node.start_mark.line + 1)
        return
    above = above | {id(node)}
    if isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            name = str(key.value)
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                yield Problem(dotted((*loc, name)), f"the key {name} is not text. Fix: put it in quotes.", line)
            if name in seen:
                yield Problem(
                    dotted((*loc, name)),
                    f"this key is given twice, first on line {seen[name]}. Fix: keep one or rename the other.",
                    line,
                )
            seen.setdefault(name, line)
            lines[(*loc, name)] = line
            yield from _walk(value, (*loc, name), lines, above)
    elif isinstance(node, yaml.SequenceNode):
        for index, value in enumerate(node.value):
            lines[(*loc, index)] = value.start_mark.line + 1
            yield from _walk(value, (*loc, index), lines, above)


def dotted(loc: Loc) -> str:
    """`("training", "runs", 0, "seeds")` as `training.runs[0].seeds`."""
    text = ""
    for part in loc:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text
