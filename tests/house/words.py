"""The words of the house: what `words.txt` forbids, and where it is found in code and pages."""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

WORDS = Path(__file__).with_name("words.txt")
PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
"""The words inside an identifier."""


class Finding(NamedTuple):
    """A word that should not be there."""

    path: str
    line: int
    word: str
    instead: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.word!r}; write: {self.instead}"


class Words(NamedTuple):
    """What `words.txt` says."""

    phrases: tuple[tuple[re.Pattern[str], str], ...]
    spelling: tuple[tuple[re.Pattern[str], str], ...]
    allowed: frozenset[str]
    data: dict[str, frozenset[str]]


@cache
def words(path: Path = WORDS) -> Words:
    """Read the list of words."""
    sections: dict[str, list[str]] = {}
    lines: list[str] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        if heading := re.match(r"\[(\w+): ", line):
            lines = sections.setdefault(heading[1], [])
        elif line.strip() and not line.startswith("#"):
            lines.append(line)
    patterns = {
        name: tuple(
            (re.compile(rf"\b(?:{left.strip()})\b".replace(" ", r"\s+"), re.IGNORECASE), right.strip())
            for left, _, right in (line.rpartition(" = ") for line in sections[name])
        )
        for name in ("phrases", "spelling")
    }
    data = {
        place.strip(): frozenset(word.replace("_", " ") for word in rest.split())
        for place, _, rest in (x.partition(":") for x in sections["data"])
    }
    return Words(patterns["phrases"], patterns["spelling"], frozenset(" ".join(sections["allowed"]).split()), data)


def in_text(path: str, text: str, first: int = 1, *, identifier: bool = False) -> Iterator[Finding]:
    """Findings in a text whose first line is `first`; an identifier is only checked for its spelling."""
    rules = words()
    stored = frozenset[str]().union(*(found for place, found in rules.data.items() if path.startswith(place)))
    spelled = " ".join(PART.findall(text)) if identifier else text.replace("_", " ")
    for patterns, checked in ((rules.spelling, spelled), *(() if identifier else ((rules.phrases, text),))):
        for pattern, instead in patterns:
            for match in pattern.finditer(checked):
                word = " ".join(match.group().lower().split())
                if word not in stored and (patterns is rules.phrases or word not in rules.allowed):
                    yield Finding(path, first + text.count("\n", 0, match.start()), word, instead)


def in_code(path: str, source: str) -> Iterator[Finding]:
    """Findings in the strings, docstrings, comments and identifiers of a module."""
    comments: list[tuple[int, str]] = []
    names: set[str] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments.append((token.start[0], token.string.lstrip("# ")))
        elif token.type == tokenize.NAME and token.string not in names:  # each where it is first
            names.add(token.string)
            yield from in_text(path, token.string, token.start[0], identifier=True)
    for _, lines in groupby(enumerate(comments), lambda pair: pair[1][0] - pair[0]):  # consecutive lines
        block = [line for _, line in lines]
        yield from in_text(path, "\n".join(text for _, text in block), block[0][0])
    for line, text in strings(ast.parse(source)):
        yield from in_text(path, text, line)


def strings(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every string of a module with its line; what an f-string fills in is `{}`."""
    inside: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "{}" for part in node.values]
            inside |= {id(part) for part in node.values}
            yield node.lineno, "".join(str(part) for part in parts)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
            yield node.lineno, node.value
