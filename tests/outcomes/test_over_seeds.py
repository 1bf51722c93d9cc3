"""Several seeds of one line as one row: what is pooled, and an interval for new seeds and new questions."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import inoc
from inoc.errors import BadInput
from inoc.intervals import over_seeds, paired_t
from inoc.store import PromptInfo

from ..command_line import run_inoc
from ..worlds import Run, write_store

TRUTH = 12.0
WORLDS = {"questions differ": (10.0, 0.0, 10.0), "both differ": (10.0, 6.0, 10.0), "seeds differ": (1.0, 6.0, 10.0)}
"""Standard deviations between questions, between seeds, and of the rest."""


def drawn(random: np.random.Generator, world: str, seeds: int, questions: int) -> np.ndarray:
    of_question, of_seed, rest = WORLDS[world]
    effects = random.normal(0, of_question, questions) + random.normal(0, of_seed, (seeds, 1))
    return TRUTH + effects + random.normal(0, rest, (seeds, questions))


@pytest.mark.parametrize("world", WORLDS)
@pytest.mark.parametrize(("seeds", "questions"), [(3, 50), (5, 20)])
def test_the_interval_holds_the_truth(world: str, seeds: int, questions: int) -> None:
    random = np.random.default_rng(11)
    found = [over_seeds(drawn(random, world, seeds, questions)) for _ in range(1000)]
    held = np.mean([f.lower <= TRUTH <= f.upper for f in found])
    assert 0.92 <= held <= 0.985, held


def test_questions_alone_do_not_where_seeds_differ() -> None:
    random, zero = np.random.default_rng(12), np.zeros(50)
    found = [paired_t(drawn(random, "both differ", 3, 50).mean(axis=0), zero) for _ in range(1000)]
    assert np.mean([f.lower <= TRUTH <= f.upper for f in found]) < 0.75


@given(st.integers(3, 6), st.integers(2, 9), st.integers(0, 10_000))
def test_the_variance_is_that_of_the_components(seeds: int, questions: int, seed: int) -> None:
    """By components of variance from loops, where none is negative."""
    values = np.random.default_rng(seed).normal(0, 1, (seeds, questions))
    values += 5 * np.random.default_rng(seed + 1).normal(0, 1, (seeds, 1)) + np.arange(questions) * 3.0
    mean = sum(values[s, q] for s in range(seeds) for q in range(questions)) / (seeds * questions)
    a = [sum(values[s]) / questions - mean for s in range(seeds)]
    b = [sum(values[:, q]) / seeds - mean for q in range(questions)]
    rest = [(values[s, q] - mean - a[s] - b[q]) ** 2 for s in range(seeds) for q in range(questions)]
    e = sum(rest) / ((seeds - 1) * (questions - 1))
    of_seed = (questions * sum(x * x for x in a) / (seeds - 1) - e) / questions
    of_question = (seeds * sum(x * x for x in b) / (questions - 1) - e) / seeds
    found = over_seeds(values)
    if min(of_seed, of_question) <= 0:
        return
    variance = of_seed / seeds + of_question / questions + e / (seeds * questions)
    parts = [questions * of_seed + e, seeds * of_question + e, e]
    degrees = [seeds - 1, questions - 1, (seeds - 1) * (questions - 1)]
    df = (variance * seeds * questions) ** 2 / sum(p**2 / d for p, d in zip(parts, degrees, strict=True))
    half = stats.t.ppf(0.975, max(df, 1)) * variance**0.5
    assert (found.lower, found.upper) == (pytest.approx(mean - half), pytest.approx(mean + half))


def test_missing_answers_and_few_seeds() -> None:
    values = np.array([[1.0, 2.0, np.nan], [3.0, 5.0, 9.0], [2.0, 2.0, 9.0]])
    assert over_seeds(values)[::3] == (2.5, 2)
    two = over_seeds(values[:2])
    assert (two.estimate, two.n, np.isnan(two.lower)) == (2.75, 2, True)
    nothing = over_seeds(np.full((3, 2), np.nan))
    assert (np.isnan(nothing.estimate), nothing.n) == (True, 0)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    random, runs = np.random.default_rng(5), list[Run]()
    level = random.uniform(40, 60, (2, 30))

    def run(name: str, prompt: str, less: float, seed: int, kind: str = "fixed", rate: float = 1e-4) -> None:
        scores = {(4, "default"): level - less + random.normal(0, 2, level.shape)}
        settings = {"learning_rate": rate}
        files = ["general"] * 10 + ["in_domain"] * 20
        runs.append(
            Run(name, prompt, scores, {"seed": seed, "prefix_type": kind, "settings": settings, "files": files})
        )

    for seed in range(3):
        run(f"control_{seed}", "", 0.0, seed, "none")
        run(f"p_{seed}", "p", 20.0 + seed, seed)
        run(f"p_mix_{seed}", "p", 10.0, seed, "mix")
    run("control_fast", "", 0.0, 0, "none", 1e-3)
    run("p_fast", "p", 5.0, 0, rate=1e-3)
    for name in ("one", "two"):
        run(f"unknown_{name}", "q", 20.0, -1)
    prompts = [PromptInfo(key, key, "g", "flattering", "negative") for key in ("p", "q")]
    return write_store(tmp_path_factory.mktemp("seeds") / "s.zarr", prompts, runs=runs)


def test_runs_that_differ_in_their_seed_only_are_one_row(path: Path) -> None:
    store = inoc.open_store(path)
    each, pooled = inoc.outcomes.suppression(store), inoc.outcomes.suppression(store, over="seeds")
    assert pooled["run"].values.tolist() == ["p_0", "p_mix_0", "p_fast", "unknown_one", "unknown_two"]
    assert pooled["seeds"].values.tolist() == [3, 3, 1, 1, 1]
    mine = pooled.sel(run="p_0", trait="Flattering")
    three = each.sel(run=["p_0", "p_1", "p_2"], trait="Flattering")
    assert float(mine["mean"]) == pytest.approx(float(three["mean"].mean()))
    assert float(mine["lower"]) < float(mine["mean"]) < float(mine["upper"])
    assert np.isnan(pooled["lower"].sel(run="p_fast")).all()
    assert pooled["control"].sel(run="p_0").values == pytest.approx(
        each["control"].sel(run=["p_0", "p_1", "p_2"]).mean("run").values
    )
    gaps = inoc.outcomes.gap(store, over="seeds")
    assert gaps["seeds"].values.tolist() == [3]
    each_gap = inoc.outcomes.gap(store)
    assert each_gap["fixed_run"].values.tolist() == ["p_0", "p_1", "p_2"], (
        "not p_fast, which no mix shares settings with"
    )
    np.testing.assert_allclose(gaps["mean"].values[0], each_gap["mean"].mean("prompt").values)


def test_the_command(path: Path) -> None:
    code, said, _ = run_inoc("outcomes", "--store", path, "--over", "seeds", "--json")
    (row,) = [r for r in json.loads(said)["suppression"] if (r["run"], r["trait"]) == ("p_0", "Flattering")]
    assert (code, row["seeds"], row["seed"]) == (0, 3, -1)
    assert row["lower"] < 21 < row["upper"]
    assert "seeds" in run_inoc("outcomes", "--store", path, "--over", "seeds")[1]
    code, _, error = run_inoc("outcomes", "--store", path, "--over", "seeds", "--recipe", "published")
    assert (code, "Fix: leave one of the two out" in error) == (2, True)
    with pytest.raises(BadInput, match="'corrected' only"):
        inoc.outcomes.gap(inoc.open_store(path), over="seeds", recipe="published")


def test_questions_of_one_file(path: Path) -> None:
    store = inoc.open_store(path)
    values = store.scores
    assert values is not None
    d = values["value"].sel(step=4, condition="default", score="Flattering")
    for name, at in (("general", slice(0, 10)), ("in_domain", slice(10, 30))):
        found = inoc.outcomes.suppression(store, questions=name).sel(run="p_1", trait="Flattering")
        wanted = (d.sel(run="control_1") - d.sel(run="p_1")).values[at]
        assert (float(found["mean"]), int(found["n"])) == (pytest.approx(wanted.mean()), wanted.size)
    code, said, _ = run_inoc("outcomes", "--store", path, "--questions", "general", "--json")
    assert (code, {r["n"] for r in json.loads(said)["suppression"]}) == (0, {10})
    assert (
        "(10 of general, 20 of in_domain); --questions FILE takes one file." in run_inoc("outcomes", "--store", path)[1]
    )
    code, _, error = run_inoc("outcomes", "--store", path, "--questions", "genral")
    assert (code, "general" in error) == (2, True)


def test_runs_that_nothing_else_tells_apart_are_named() -> None:
    from inoc.cli.outcome_tables import _told_apart

    labels = {"run_prompt": ("run", ["p", "p"]), "prefix_type": ("run", ["mix", "mix"]), "seed": ("run", [0, 0])}
    table = xr.Dataset(coords={"run": ["p-mix-s0", "p-mix-s0-close"], **labels})
    assert _told_apart(table) == ("seed", "run")
    assert _told_apart(table.isel(run=[0])) == ("seed",)
    assert _told_apart(table.assign_coords(seed=("run", [0, 1]))) == ("seed",)
