"""The oracles notice a sign flip, a dropped or reversed axis, swapped axes and a changed ddof in every entry."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
import xarray as xr

from inoc.heuristics.frame import registry, resolve
from inoc.heuristics.frame.registry import own
from inoc.heuristics.frame.table import compute, measure
from inoc.heuristics.maths import composite, gap, gram, pointwise
from inoc.heuristics.tokens import jax_engine, one_pass, terms

from .oracle_worlds import SETS
from .oracles import View, differs

Mutation = Callable[[np.ndarray], np.ndarray]
SYMMETRIC = {("prompt", "other_prompt")}
SIZES = {"prompt": 12, "other_prompt": 12, "prefix_type": 2, "trait": 2, "bound": 2, "component": 5}
SIZES |= {
    "completion_set": 3,
    "representation": 3,
    "variant": 3,
    "category": 5,
    "predictor": 5,
    "statistic": 5,
    "layer": 2,
}


def smaller(values: np.ndarray) -> np.ndarray:
    """What ddof = 0 in place of 1 does to a standard deviation; a count is off by one."""
    return values + 1 if values.dtype.kind == "i" else values * np.sqrt(1 - 1 / SETS["train"])


def mutations(dims: tuple[str, ...]) -> Iterator[tuple[str, Mutation]]:
    """What can go wrong with an array of these dims."""
    yield "sign", np.negative
    yield "ddof", smaller
    for axis in range(len(dims)):
        yield f"drop {axis}", lambda x, a=axis: np.broadcast_to(x.take([0], axis=a), x.shape)
        yield f"reverse {axis}", lambda x, a=axis: np.flip(x, a)
    for pair in combinations(range(len(dims)), 2):
        names = dims[pair[0]], dims[pair[1]]
        if SIZES[names[0]] == SIZES[names[1]] and names not in SYMMETRIC:
            yield f"swap {pair[0]}{pair[1]}", lambda x, p=pair: np.swapaxes(x, *p)


def constant(values: np.ndarray) -> Callable[[], np.ndarray]:
    """A heuristic that needs nothing."""
    return lambda: values


VARIABLES = {variable.name: variable for entry in own() for variable in entry.variables()}
PLANTED = {(name, what): change for name, variable in VARIABLES.items() for what, change in mutations(variable.dims)}
TERMS = [entry.name for entry in own() if entry.token_term]


@pytest.fixture(scope="module")
def mutants(oracle_stores) -> dict[str, xr.Dataset]:
    """Per mutation the table in which every entry that can have it is replaced by its mutated self."""
    _, store = oracle_stores["holes"]
    right = {name: variable.values for name, variable in measure(store).variables.items()}
    found: dict[str, xr.Dataset] = {}
    for mutation in dict.fromkeys(what for _, what in PLANTED):
        wrong = {
            name: replace(VARIABLES[name], function=constant(change(right[name])), inputs={})
            for (name, what), change in PLANTED.items()
            if what == mutation
        }
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(resolve, "computed", lambda wrong=wrong: {**registry.computed(), **wrong})
            found[mutation] = compute(store, only=list(wrong))
    return found


@pytest.fixture(scope="module")
def view(oracle_stores) -> View:
    return View(oracle_stores["holes"][0])


@pytest.mark.slow
@pytest.mark.parametrize("name", dict.fromkeys(name for name, _ in PLANTED))
def test_every_mutant_is_caught(name, mutants, view):
    planted = [what for of, what in PLANTED if of == name]
    assert not [what for what in planted if not differs(mutants[what][name], view)]


@pytest.mark.parametrize("engine", ["numpy", "jax"])
def test_a_reversed_sign_in_the_kernel_is_caught(engine, oracle_stores, view, monkeypatch):
    right = terms.evaluate
    monkeypatch.setattr(terms, "evaluate", lambda *args: (-term for term in right(*args)))
    jax_engine._kernel.cache_clear()
    found = compute(oracle_stores["holes"][1], only=TERMS, engine=engine)
    jax_engine._kernel.cache_clear()
    assert not [term for term in TERMS if not differs(found[term], view)]


def test_a_reversed_sign_in_a_function_of_rows_is_caught(oracle_stores, view, monkeypatch):
    names = [entry.name for entry in own() if entry.row_term]
    right = one_pass.evaluate
    monkeypatch.setattr(one_pass, "evaluate", lambda *args: (-value for value in right(*args)))
    found = compute(oracle_stores["holes"][1], only=names)
    assert len(names) >= 3
    assert not [name for name in names if not differs(found[name], view)]


@pytest.mark.parametrize(
    ("module", "function", "name"),
    [
        (pointwise, "sigma", "snr"),
        (gap, "sigma", "variance_diff"),
        (gap, "sigma", "spread_std"),
        (gram, "z_scores", "svd_zsum"),
        (composite, "z_scores", "composite"),
    ],
)
def test_another_ddof_in_the_code_is_caught(module, function, name, oracle_stores, view, monkeypatch):
    right = getattr(module, function)
    monkeypatch.setattr(module, function, lambda x, ddof=1: right(x, ddof=1 - ddof))
    found = compute(oracle_stores["holes"][1], only=[name])
    assert differs(found[name], view)
