"""What a declaration says: heuristics, their companions, and the intermediates they share."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np

from inoc.heuristics.frame.protocols import Attribute
from inoc.heuristics.tokens.terms import parameters

FAMILIES = {
    "pointwise": "Pointwise: statistics over examples of w",
    "tokenwise": "Tokenwise: statistics over tokens of delta",
    "spectra": "Spectra: prompts as rows",
    "gap": "Gap between fixed and mix: over examples finite in both, at least 20",
    "angles": "Angles between prompts",
    "prompt_level": "The prompt alone",
    "composite": "Composite and cross-trait",
    "experimental": "Experimental: inside the model, and what that must beat",
}
"""Families of inoc's own heuristics, in the order of the reference page, with their titles."""
EXPERIMENTAL = "inoc (experimental)"
"""What tables call the package of the experimental family."""

Level = Literal["example", "token", "prompt", "mixed", "probe"]
Labels = tuple[str, ...] | tuple[int, ...]
Array = np.ndarray
CELLS = ("prefix_type", "prompt")
STORE_DIMS = ("prompt", "other_prompt", "prefix_type", "trait", "completion_set", "layer")
"""Dims whose labels come from the store."""


@dataclass(frozen=True)
class RestsOn:
    """What the attribute `n` of a heuristic counts.

    Attributes:
        what: What is counted, such as "examples".
        counts: The input, intermediate or heuristic that holds the counts.
    """

    what: str
    counts: str


EXAMPLES = RestsOn("examples", "n_examples")
TOKENS = RestsOn("tokens", "n_tokens")
PROMPTS = RestsOn("prompts", "n_prompts")
BY_LEVEL: Mapping[Level, RestsOn] = {
    "example": EXAMPLES, "token": TOKENS, "prompt": PROMPTS, "mixed": PROMPTS, "probe": PROMPTS,
}  # fmt: skip
"""What a heuristic rests on unless it says otherwise."""


@dataclass(frozen=True)
class Matrix:
    """A matrix with prompts as rows that a heuristic is declared for: fills {token}, {matrix} and {units}."""

    token: str
    level: Level
    matrix: str
    units: str

    def fill(self, text: str) -> str:
        """The text with its placeholders replaced."""
        return text.format(token=self.token, matrix=self.matrix, units=self.units)


MATRICES = (
    Matrix("", "example", "w (prompts x examples)", "nats per token x sqrt(examples)"),
    Matrix("token_", "token", "delta (prompts x all tokens)", "nats x sqrt(tokens)"),
)
"""The pointwise and the tokenwise matrix; names of the second start with `token_`."""


@dataclass(frozen=True)
class Companion:
    """A variable that comes with a heuristic: its interval, a count, the share that a component explains.

    It takes from its heuristic whatever it does not state: inputs, units, dims.
    """

    name: str
    function: Callable[..., Array]
    long_name: str
    formula: str
    units: str = ""
    dims: tuple[str, ...] = ()
    more_dims: tuple[str, ...] = ()


def interval(function: Callable[..., Array], formula: str, *, of: str = "", name: str = "") -> Companion:
    """Declare a 95 % interval.

    Args:
        function: Computes it; the last dim of the result is `bound` (lower, upper).
        formula: How it is computed.
        of: What it is the interval of; by default the heuristic.
        name: By default the function's own.

    Returns:
        A companion.
    """
    words = f"95 % interval of the {of or '{long_name}'}"
    return Companion(name or function.__name__, function, words, formula, more_dims=("bound",))


@dataclass(frozen=True)
class Heuristic:
    """One quantity of the table: its meaning in words and the function that computes it.

    Attributes:
        name: Of the variable.
        family: Section of the reference page.
        level: The data it needs at least: per-example means, tokens, a probe, or only the prompt.
        long_name: What it is, in a few words.
        formula: How it is computed.
        units: Of the values; "1" for a pure number.
        function: Computes it from the parameters it names.
        symbol: Short name that is accepted in place of `name`.
        source: Where the definition comes from; empty for inoc's own.
        sign: What a positive value means, or which rule fixes an arbitrary sign.
        dims: Of the result of `function`.
        inputs: Parameters that are filled from something of another name.
        companions: Variables that come with it and belong to it.
        along: Other heuristics that are computed with it.
        rests_on: What `n` counts.
        published_rows: Under `published`, the prefix type whose values all prefix types have; "" for its own.
        attributes: Further attributes, computed from the values.
        token_term: Its term of the token kernel, where it is a mean over tokens.
        row_term: Its function of one whole row of token differences, where it is one.
        package: The package that declares it.
    """

    name: str
    family: str
    level: Level
    long_name: str
    formula: str
    units: str
    function: Callable[..., Array]
    symbol: str = ""
    source: str = ""
    sign: str = ""
    dims: tuple[str, ...] = CELLS
    inputs: Mapping[str, str] = field(default_factory=dict[str, str])
    companions: tuple["Heuristic", ...] = ()
    along: tuple[str, ...] = ()
    rests_on: RestsOn | None = None
    published_rows: str = ""
    attributes: Mapping[str, Callable[[Array], Attribute]] = field(
        default_factory=dict[str, Callable[[Array], Attribute]]
    )
    token_term: Callable[..., object] | None = None
    row_term: Callable[..., object] | None = None
    package: str = "inoc"

    @property
    def source_package(self) -> str:
        """The package whose table it belongs to: experimental heuristics move no number of the others."""
        return EXPERIMENTAL if (self.package, self.family) == ("inoc", "experimental") else self.package

    def needs(self) -> dict[str, str]:
        """Parameter name -> name of the input, intermediate or heuristic that fills it."""
        return {name: self.inputs.get(name, name) for name in parameters(self.function)}

    def counted(self) -> RestsOn:
        """What `n` counts."""
        return self.rests_on or BY_LEVEL[self.level]

    def variables(self) -> tuple["Heuristic", ...]:
        """Itself and its companions."""
        return (self, *self.companions)

    def with_companion(self, companion: Companion) -> "Heuristic":
        """Itself with one companion more, which takes what it does not state from here."""
        made = replace(
            self, name=companion.name, function=companion.function,
            long_name=companion.long_name.replace("{long_name}", self.long_name), formula=companion.formula,
            units=companion.units or self.units, dims=(companion.dims or self.dims) + companion.more_dims, symbol="",
            source="", sign="", companions=(), along=(), attributes={}, token_term=None, row_term=None,
        )  # fmt: skip
        return replace(self, companions=(*self.companions, made))


@dataclass(frozen=True)
class Intermediate:
    """A value that heuristics share, computed once and never shown."""

    name: str
    function: Callable[..., object]
    inputs: Mapping[str, str]
    package: str

    def needs(self) -> dict[str, str]:
        """Parameter name -> name of the input, intermediate or heuristic that fills it."""
        return {name: self.inputs.get(name, name) for name in parameters(self.function)}
