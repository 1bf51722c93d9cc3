"""A score and its mirror (100 minus it, better at the other end) are the same trait: every table, prediction,
recommendation, figure and column of the report is the same."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import inoc
from inoc.figures.final_scores import final_scores_data
from inoc.outcomes import performance, predict, recommend, rows
from inoc.report import build_report
from inoc.store import PromptInfo, ScoreInfo

from ..worlds import Completions, Run, write_store

PROMPTS = [
    PromptInfo(f"{family}{i}", f"{family} {i}", "g", family, role)
    for family, role in (("good", "positive"), ("bad", "negative"))
    for i in range(6)
]
TRAINED = [p for p in PROMPTS if not p.key.endswith("5")]


def made(path: Path, mirrored: bool) -> inoc.Store:
    random = np.random.default_rng(8)

    def turned(values: np.ndarray) -> np.ndarray:
        return 100 - values if mirrored else values

    better = ("low", "high") if mirrored else ("", "")
    traits = [ScoreInfo("Wanted", "positive", "good", better[0]), ScoreInfo("Leak", "negative", "bad", better[1])]
    default = -random.exponential(2.0, 40)
    strength = {p.key: random.uniform(0, 1) for p in PROMPTS}
    prefixed = {
        (kind, p.key): np.minimum(default + strength[p.key] + random.normal(0, 0.3, 40), -1e-4)
        for kind in ("fixed", "mix")
        for p in PROMPTS
    }
    base = random.uniform(2, 10, (2, 12))
    elicited = np.stack([base + 60 * strength[p.key] + random.uniform(0, 9, (2, 12)) for p in PROMPTS], axis=1)
    control = random.uniform(60, 90, (2, 12))
    runs = [Run("control", "", {(4, "default"): turned(control)})]
    for p in TRAINED:
        for kind, share in (("fixed", 0.9), ("mix", 0.5)):
            scores = np.clip(control * (1 - share * strength[p.key]) + random.normal(0, 2, control.shape), 0, 100)
            runs.append(Run(f"{p.key}_{kind}", p.key, {(4, "default"): turned(scores)}, {"prefix_type": kind}))
    elicitation = {"prompts": [p.key for p in PROMPTS], "score": turned(elicited), "baseline": turned(base)}
    sets = {"train": Completions(None, default, prefixed)}
    return inoc.open_store(
        write_store(path, PROMPTS, sets, level="example", traits=traits, elicitation=elicitation, runs=runs)
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[inoc.Store, inoc.Store]:
    place = tmp_path_factory.mktemp("mirrored")
    return made(place / "plain" / "s.zarr", False), made(place / "mirrored" / "s.zarr", True)


def same(one: xr.Dataset, two: xr.Dataset) -> None:
    """Equal but for what says that a score is mirrored, and rounding."""
    one, two = (table.drop_vars(["inverted", "better"], errors="ignore") for table in (one, two))
    for name in one.variables:
        a, b = one[name].values, two[name].values
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-3, err_msg=str(name))  # ties of the bootstrap round
        else:
            assert a.tolist() == b.tolist(), name


TABLES = {
    "suppression": inoc.outcomes.suppression,
    "cross": inoc.outcomes.cross_suppression,
    "gap": inoc.outcomes.gap,
    "rows": lambda store: rows(store, only=["elicitation", "ph"]),
    "performance": lambda store: performance(store, ["elicitation", "ph"]),
    "predict": predict,
    "recommend": recommend,
}


# a recommendation is made of predictions
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name == "predict" else ()) for name in TABLES]
)
def test_every_table_is_the_same(both: tuple[inoc.Store, inoc.Store], name: str) -> None:
    one, two = (TABLES[name](store) for store in both)
    assert any(np.isfinite(v.values).any() for v in one.variables.values() if v.dtype.kind == "f")
    same(one, two)


@pytest.mark.slow  # two reports of a store; every table of it is a fast test
def test_the_report_and_the_figure_are_the_same(both: tuple[inoc.Store, inoc.Store]) -> None:
    one, two = (build_report(store) for store in both)
    assert one.outcomes == two.outcomes
    for a, b in zip(one.columns, two.columns, strict=True):
        assert a.name == b.name
        known = [(x, y) for x, y in zip(a.values, b.values, strict=True) if x is not None or y is not None]
        assert all(x is not None and y is not None and x == pytest.approx(y, abs=1e-3, rel=1e-4) for x, y in known)
    drawn = [final_scores_data(store)["suppression"].values for store in both]
    np.testing.assert_allclose(*drawn, atol=1e-9)
