"""Generated from the registry: every heuristic equals an independent oracle, in every world it has data in."""

from dataclasses import dataclass

import numpy as np
import pytest
import xarray as xr

from inoc.heuristics.frame.registry import own
from inoc.heuristics.frame.table import compute
from inoc.heuristics.maths import tokenwise

from .oracle_worlds import PROMPTS, WORLDS
from .oracles import ORACLES, View, differs, expected

SUBSET = ("pending", "zero", "plain", "german", "odd", "vienna", "flatter")  # not in their order
CASES = [
    *((world, recipe, None, "numpy") for world in WORLDS for recipe in ("corrected", "published")),
    *((world, "corrected", SUBSET, "numpy") for world in ("holes", "reversed_traits", "examples_only")),
    ("holes", "published", SUBSET, "numpy"),
    ("holes", "corrected", None, "jax"),
    ("reversed_traits", "published", SUBSET, "jax"),
]


@dataclass(frozen=True)
class Computed:
    case: str
    view: View
    found: xr.Dataset


@pytest.fixture(scope="module")
def tables(oracle_stores) -> list[Computed]:
    made: list[Computed] = []
    for name, recipe, prompts, engine in CASES:
        world, store = oracle_stores[name]
        found = compute(store, recipe=recipe, prompts=prompts, engine=engine)
        made.append(Computed(f"{name}, {recipe}, {engine}", View(world, recipe, prompts), found))
    return made


def unexplained(variables: set[str]) -> set[str]:
    """Names without an oracle."""
    return variables - set(ORACLES)


def test_every_heuristic_and_every_variable_has_an_oracle(tables):
    names = {v.name for entry in own() for v in entry.variables()}.union(*(map(str, table.found) for table in tables))
    assert not unexplained(names), "write an oracle in tests/heuristics/oracles.py"
    assert unexplained({"ph", "median_difference"}) == {"median_difference"}


@pytest.mark.parametrize("name", sorted(ORACLES))
def test_equals_its_oracle(name, tables):
    having = [table for table in tables if name in table.found]
    assert having, f"{name} is computed in no world"
    wrong = {t.case: found for t in having if (found := differs(t.found[name], t.view))}
    assert not wrong
    assert any(np.isfinite(t.found[name]).any() for t in having)


def test_nothing_is_absent_from_the_world_that_has_everything(tables):
    assert tables[0].found.attrs["absent"] == []
    assert set(map(str, tables[0].found)) == set(ORACLES)
    assert tables[0].found["prompt"].values.tolist() == list(PROMPTS)


BARE = [entry.name for entry in own() if entry.token_term]


@pytest.mark.parametrize("name", BARE)
def test_the_bare_mean_over_tokens_is_exact(name, tables):
    """The public function of a token term: float64, without the kernel."""
    for table in (t for t in tables if t.view.recipe == "corrected" and name in t.found):
        view = table.view
        delta = np.array([[view.delta(kind, p) for p in view.prompts] for kind in view.kinds])
        wanted = expected(view, name).transpose("prefix_type", "prompt").values
        np.testing.assert_allclose(getattr(tokenwise, name)(delta), wanted, rtol=1e-12, atol=1e-14)
