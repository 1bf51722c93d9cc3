"""The decorators that declare heuristics: one function in one file, whatever it needs."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar, cast

import numpy as np
from jaxtyping import Float, Float64

from inoc.heuristics.frame.declarations import CELLS, Array, Companion, Heuristic, Intermediate, Level, Matrix, RestsOn
from inoc.heuristics.frame.protocols import Attribute
from inoc.heuristics.frame.registry import add_intermediate, add_part, as_terms, package_of, register
from inoc.heuristics.tokens.terms import Tokens, evaluate

Function = TypeVar("Function", bound=Callable[..., object])
Delta = Float[np.ndarray, "*prompt token"]
PerPrompt = Float64[np.ndarray, "*prompt"]
Cells = Float64[np.ndarray, "prefix_type prompt"]
BARE = """Args:
    delta: Token differences in nats, [*prompt, token]; those that are not finite are left out.

Returns:
    The mean over the finite tokens, [*prompt], in units of {units}; NaN without one."""


def heuristic(
    *,
    family: str,
    long_name: str,
    formula: str,
    units: str,
    level: Level | None = None,
    name: str = "",
    symbol: str | tuple[str, ...] = "",
    source: str = "",
    sign: str = "",
    dims: tuple[str, ...] = CELLS,
    inputs: Mapping[str, str] | None = None,
    companions: Sequence[Companion] = (),
    along: tuple[str, ...] = (),
    rests_on: RestsOn | None = None,
    published_rows: str = "",
    attributes: Mapping[str, Callable[[Array], Attribute]] | None = None,
    matrices: Sequence[Matrix] = (),
) -> Callable[[Function], Function]:
    """Register the decorated function, whose parameters name what it needs, and return it unchanged.

    Args:
        family: Section of the reference page.
        long_name: What it is, in a few words.
        formula: How it is computed.
        units: Of the values; "1" for a pure number.
        level: The data it needs at least. Left out with `matrices`, which know theirs.
        name: Of the variable; by default the function's own.
        symbol: Short name that is accepted in place of `name`; one for each matrix with `matrices`.
        source: Where the definition comes from.
        sign: What a positive value means.
        dims: Of the result.
        inputs: Parameters that are filled from something of another name.
        companions: Variables that come with it: intervals, counts, shares.
        along: Other heuristics that are computed with it.
        rests_on: What `n` counts; by default what the level says.
        published_rows: Under `published`, the prefix type whose values all prefix types have.
        attributes: Further attributes, computed from the values.
        matrices: Declare it once for each of these: `{token}`, `{matrix}` and `{units}` in names, inputs and
            words are filled.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        BadInput: The name is taken, or a parameter or a dim does not exist.
    """

    def decorate(function: Function) -> Function:
        made = Heuristic(
            name or ("{token}" if matrices else "") + function.__name__, family, level or "mixed", long_name, formula,
            units, cast(Callable[..., Array], function), symbol if isinstance(symbol, str) else "", source, sign, dims,
            inputs or {}, along=along, rests_on=rests_on, published_rows=published_rows, attributes=attributes or {},
            package=package_of(function),
        )  # fmt: skip
        for companion in companions:
            made = made.with_companion(companion)
        for i, matrix in enumerate(matrices):
            entry = _filled(made, matrix)
            register(replace(entry, symbol=symbol[i]) if isinstance(symbol, tuple) else entry)
        if not matrices:
            register(made)
        return function

    return decorate


def _filled(entry: Heuristic, matrix: Matrix) -> Heuristic:
    return replace(
        entry,
        name=matrix.fill(entry.name),
        level=matrix.level,
        long_name=matrix.fill(entry.long_name),
        formula=matrix.fill(entry.formula),
        units=matrix.fill(entry.units),
        inputs={parameter: matrix.fill(source) for parameter, source in entry.inputs.items()},
        companions=tuple(_filled(companion, matrix) for companion in entry.companions),
    )


def intermediate(
    *, name: str = "", inputs: Mapping[str, str] | None = None, matrices: Sequence[Matrix] = ()
) -> Callable[[Function], Function]:
    """Register a value that heuristics share; its parameters name what it needs, and it is computed once.

    Args:
        name: By default the function's own.
        inputs: Parameters that are filled from something of another name.
        matrices: Declare it once for each of these, with `{token}` filled in names and inputs.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        BadInput: The name is taken, or a parameter does not exist.
    """

    def decorate(function: Function) -> Function:
        stem = name or ("{token}" if matrices else "") + function.__name__
        for matrix in matrices or (None,):
            fill: Callable[[str], str] = matrix.fill if matrix else str
            needs = {parameter: fill(source) for parameter, source in (inputs or {}).items()}
            add_intermediate(Intermediate(fill(stem), function, needs, package_of(function)))
        return function

    return decorate


def part(function: Function) -> Function:
    """Register a quantity that several token terms or row terms share.

    Args:
        function: Names what it needs as parameters, like a term.

    Returns:
        The function, unchanged.
    """
    add_part(function)
    return function


def _kept(name: str, function: Callable[..., object]) -> Callable[..., Cells]:
    """What finds the values of a term among those of the pass over tokens, told apart as the term's function is."""

    def kept(values: Mapping[str, np.ndarray]) -> Cells:
        return np.asarray(values[name])

    kept.__module__, kept.__qualname__ = function.__module__, function.__qualname__
    return kept


def token_mean(
    *,
    long_name: str,
    formula: str,
    units: str,
    family: str = "tokenwise",
    name: str = "",
    symbol: str = "",
    source: str = "",
    sign: str = "",
    published_rows: str = "",
    kernel: Callable[..., Tokens] | None = None,
) -> Callable[[Callable[..., object]], Callable[[Delta], PerPrompt]]:
    """Register a mean over tokens, written once for NumPy and JAX.

    The decorated function gives one number per token. Its parameters are `delta` (differences in nats, every one
    finite), `xp` (NumPy or jax.numpy) and the parts declared with `@part`; a part is computed once for all terms. It
    must give 0 where delta is 0. Both engines of the pass over tokens run it in float32 and add in float64.

    Args:
        long_name: What it is, in a few words.
        formula: How it is computed.
        units: Of the mean; "1" for a pure number.
        family: Section of the reference page.
        name: Of the variable; by default the function's own.
        symbol: Short name that is accepted in place of `name`.
        source: Where the definition comes from.
        sign: What a positive value means.
        published_rows: Under `published`, the prefix type whose values all prefix types have.
        kernel: A faster form of the function for the engines.

    Returns:
        A decorator. The decorated name becomes the mean on a bare array: over the finite tokens of
        `delta[*prompt, token]`, in float64, NaN without one.

    Raises:
        BadInput: The name is taken, a part does not exist, or the term is not 0 at a difference of 0.
    """

    def decorate(function: Callable[..., object]) -> Callable[[Delta], PerPrompt]:
        chosen = name or function.__name__
        kept = _kept(chosen, function)
        register(
            Heuristic(
                chosen, family, "token", long_name, formula, units, kept, symbol, source, sign,
                published_rows=published_rows, token_term=kernel or function, package=package_of(function),
                inputs={"values": "statistics.means"},
            )
        )  # fmt: skip

        def mean(delta: Delta) -> PerPrompt:
            valid = np.isfinite(delta)
            filled = np.where(valid, delta, 0.0).astype(np.float64)
            (term,) = as_terms({chosen: function})
            values = np.asarray(next(evaluate([term], {"delta": filled, "xp": np})))
            with np.errstate(invalid="ignore", divide="ignore"):
                return np.asarray(np.where(valid, values, 0.0).sum(axis=-1) / valid.sum(axis=-1))

        mean.__module__, mean.__qualname__ = function.__module__, function.__qualname__
        mean.__name__, mean.__doc__ = chosen, f"{inspect.getdoc(function)}\n\n{BARE.format(units=units)}"
        return mean

    return decorate


def token_row(
    *,
    long_name: str,
    formula: str,
    units: str,
    family: str = "tokenwise",
    name: str = "",
    symbol: str = "",
    source: str = "",
    sign: str = "",
    along: tuple[str, ...] = (),
    rests_on: RestsOn | None = None,
    published_rows: str = "",
) -> Callable[[Function], Function]:
    """Register a function of one whole row of token differences (one prefix type and prompt), as a number.

    Its parameters are `delta` ([token], float32, nats; not finite where missing), `layout` (a `RowLayout`:
    row sizes, positions, examples, token ids), `row_size`, `recipe`, and parts declared with `@part`. All row
    terms that are asked for share one reading of the logprobs.

    Args:
        long_name: What it is, in a few words.
        formula: How it is computed.
        units: Of the number; "1" for a pure number.
        family: Section of the reference page.
        name: Of the variable; by default the function's own.
        symbol: Short name that is accepted in place of `name`.
        source: Where the definition comes from.
        sign: What a positive value means.
        along: Other heuristics that are computed with it.
        rests_on: What `n` counts; tokens by default.
        published_rows: Under `published`, the prefix type whose values all prefix types have.

    Returns:
        A decorator that returns the function unchanged.

    Raises:
        BadInput: The name is taken, or a part does not exist.
    """

    def decorate(function: Function) -> Function:
        chosen = name or function.__name__
        kept = _kept(chosen, function)
        register(
            Heuristic(
                chosen, family, "token", long_name, formula, units, kept, symbol, source, sign,
                along=along, rests_on=rests_on, published_rows=published_rows, row_term=function,
                package=package_of(function), inputs={"values": "statistics.rows"},
            )
        )  # fmt: skip
        return function

    return decorate
