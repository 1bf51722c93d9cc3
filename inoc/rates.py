"""The little language of rates: conditions on the scores of one answer, such as `Coherence > 60 and Alignment < 40`.

    condition := either ("or" either)*        either := single ("and" single)*
    single    := "not" single | "(" condition ")" | operand compare operand
    operand   := a number | the name of a score, in quotes where it is not one word
    compare   := > | >= | < | <= | == | !=

It is parsed here and never handed to Python's `eval`.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from jaxtyping import Bool, Float64

from inoc.errors import BadInput

Values = Float64[np.ndarray, "*cells"]
Truth = Bool[np.ndarray, "*cells"]
LONGEST, DEEPEST = 1000, 40
"""The most characters of a rate, and of parentheses and nots inside each other."""
COMPARE: Final[Mapping[str, np.ufunc]] = {
    ">=": np.greater_equal, "<=": np.less_equal, "==": np.equal, "!=": np.not_equal, ">": np.greater, "<": np.less,
}  # fmt: skip
TOKEN: Final = re.compile(
    r"""\s*(?:(?P<number>\d+(?:\.\d*)?|\.\d+)|(?P<word>[^\W\d]\w*)|'(?P<single>[^']+)'|"(?P<double>[^"]+)"
    |(?P<sign>>=|<=|==|!=|[<>()]))""",
    re.VERBOSE,
)
WORDS: Final = ("and", "or", "not")


@dataclass(frozen=True)
class Rate:
    """A condition on the scores of an answer.

    Attributes:
        text: As it is written.
        names: The scores it needs, in order of appearance.
    """

    text: str
    names: tuple[str, ...]
    _tree: "_Node"

    def of(self, scores: Mapping[str, Values]) -> Values:
        """100 for every answer that meets the condition, 0 for any other, NaN where a score it needs is missing.

        Args:
            scores: The scores of the answers by name, 0-100; all of one shape.
        """
        needed = {name: np.asarray(scores[name], dtype=np.float64) for name in self.names}
        known = np.logical_and.reduce([np.isfinite(values) for values in needed.values()])
        return np.where(known, np.where(self._tree.holds(needed), 100.0, 0.0), np.nan)


@dataclass(frozen=True)
class _Node:
    """`sign` is a comparison, "and", "or" or "not"; the parts of a comparison are two operands."""

    sign: str
    parts: "tuple[_Node | str | float, ...]"

    def holds(self, scores: Mapping[str, Values]) -> Truth:
        if self.sign in COMPARE:
            left, right = (scores[p] if isinstance(p, str) else np.asarray(p) for p in self.parts)
            with np.errstate(invalid="ignore"):
                return np.asarray(COMPARE[self.sign](left, right), dtype=bool)
        inner = [part.holds(scores) for part in self.parts if isinstance(part, _Node)]
        if self.sign == "not":
            return ~inner[0]
        return (np.logical_and if self.sign == "and" else np.logical_or).reduce(inner)

    def names(self) -> Iterator[str]:
        for part in self.parts:
            if isinstance(part, _Node):
                yield from part.names()
            elif isinstance(part, str):
                yield part


@lru_cache(maxsize=64)
def parse_rate(text: str) -> Rate:
    """Parse a rate.

    Args:
        text: Comparisons of scores with numbers or with each other, joined by and, or, not and parentheses.

    Raises:
        BadInput: It is not one; the message says where.
    """
    if len(text) > LONGEST:
        raise BadInput(f"the rate has {len(text)} characters. Fix: use at most {LONGEST}.")
    reader = _Reader(text)
    tree = reader.either("or", 0)
    if reader.kind != "end":
        raise reader.wrong("a comparison is complete here; expected 'and' or 'or'")
    return Rate(text, tuple(dict.fromkeys(tree.names())), tree)


class _Reader:
    """A recursive-descent parser; `kind` and `value` are the token at hand, `at` its place."""

    def __init__(self, text: str) -> None:
        self.text, self.end = text, 0
        self.next()

    def next(self) -> None:
        """Go to the next token."""
        self.at = self.end + len(self.text[self.end :]) - len(self.text[self.end :].lstrip())
        self.kind, self.value = "end", "the end"
        if self.at == len(self.text):
            return
        found = TOKEN.match(self.text, self.end)
        if found is None:
            self.kind, self.value = "other", self.text[self.at]
            return
        self.end = found.end()
        self.kind, self.value = str(found.lastgroup), str(found[str(found.lastgroup)])
        if self.kind == "word" and self.value in WORDS:
            self.kind = "keyword"

    def wrong(self, what: str) -> BadInput:
        return BadInput(
            f"the rate {self.text!r}, at character {self.at + 1} ({self.value}): {what}. "
            "Fix: write it as in `Coherence > 60 and 'Risky advice' < 40`."
        )

    def either(self, word: str, depth: int) -> _Node:
        """Parts joined by `or`, each of parts joined by `and`."""
        parts: list[_Node] = []
        while True:
            parts.append(self.either("and", depth) if word == "or" else self.single(depth))
            if (self.kind, self.value) != ("keyword", word):
                return parts[0] if len(parts) == 1 else _Node(word, tuple(parts))
            self.next()

    def single(self, depth: int) -> _Node:
        if depth > DEEPEST:
            raise self.wrong(f"more than {DEEPEST} parentheses and nots inside each other")
        if (self.kind, self.value) == ("keyword", "not"):
            self.next()
            return _Node("not", (self.single(depth + 1),))
        if (self.kind, self.value) == ("sign", "("):
            self.next()
            inner = self.either("or", depth + 1)
            if (self.kind, self.value) != ("sign", ")"):
                raise self.wrong("expected ')'")
            self.next()
            return inner
        left = self.operand()
        sign = self.value
        if self.kind != "sign" or sign not in COMPARE:
            raise self.wrong(f"expected one of {', '.join(COMPARE)}")
        self.next()
        right = self.operand()
        if isinstance(left, float) and isinstance(right, float):
            raise self.wrong("two numbers are compared, and no score")
        return _Node(sign, (left, right))

    def operand(self) -> str | float:
        if self.kind not in ("number", "word", "single", "double"):
            raise self.wrong("expected a number or the name of a score")
        value = float(self.value) if self.kind == "number" else self.value
        self.next()
        return value
