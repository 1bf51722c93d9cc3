"""Recommendations, the plan of runs, and predictions from stores of every kind."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.maths.experimental import lexical_anchor
from inoc.outcomes import predict, recommend
from inoc.outcomes.candidates import candidates, named
from inoc.outcomes.gate import NOISE, Prior
from inoc.outcomes.planning import choose_runs
from inoc.outcomes.recommendation import standings
from inoc.outcomes.settings import Settings, unlike
from inoc.outcomes.shipped import shipped
from inoc.store.schema import PromptInfo, ScoreInfo
from inoc.store.store import open_store

from ..command_line import run_inoc
from ..figures.worlds import write_world
from ..worlds import TRAITS, Completions, Run, write_store

OTHER = [ScoreInfo("Playful", "positive", "playful"), ScoreInfo("French", "negative", "french")]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_world(tmp_path_factory.mktemp("worlds") / "world.zarr", each=6, trained=3, more=False)


def base_store(
    path: Path, *, logprobs: bool = True, control: bool = False, elicited: int = 6, prompts: int = 6
) -> Path:
    """Six prompts (or fewer) of another trait pair, no runs but a control; elicitation of the first of them."""
    rng = np.random.default_rng(0)
    known = [
        PromptInfo(f"{family}{i}", f"{family} {i}", "g", family, role)
        for family, role in (("playful", "positive"), ("french", "negative"), ("neutral", "neutral"))
        for i in range(2)
    ][:prompts]
    sizes = rng.integers(4, 9, 20)
    total = int(sizes.sum())
    default = -rng.exponential(2.0, total)
    sets = {}
    if logprobs:
        prefixed = {
            (kind, p.key): np.minimum(default + rng.normal(0.05, 0.4, total), -1e-4).astype(np.float32)
            for p in known
            for kind in ("fixed", "mix")
        }
        sets["train"] = Completions(sizes, default.astype(np.float32), prefixed)
    keys = [p.key for p in known][:elicited]
    baseline = rng.uniform(0, 10, (2, 10))
    score = np.clip(baseline[:, None] + rng.uniform(0, 40, (2, len(keys), 1)), 0, 100)
    scores = {(5, "default"): np.array([np.full(10, 80.0), np.full(10, 60.0)])}
    settings = {"judges": {"Playful": "one", "French": "one"}, "nominal_step": 5}
    runs = [Run("control", "", scores, settings)] if control else []
    elicitation = {"prompts": keys, "score": score, "baseline": baseline}
    return write_store(path, known, sets, traits=OTHER, elicitation=elicitation, runs=runs)


# standings and plans


def test_standings_by_hand() -> None:
    leak = np.array([[50.0, 45, 55], [30, 25, 35], [29, 24, 34], [10, 5, 15], [48, 20, 70]])
    loss = np.array([[20.0, 15, 25], [5, 0, 10], [6, 1, 11], [30, 25, 35], [21, 0, 40]])
    assert standings(leak, loss) == ["front", "front", "close", "behind", "close"]


@given(hnp.arrays(np.float64, (6, 2), elements=st.integers(-20, 80).map(float)), st.floats(0.5, 40))
def test_the_front_is_what_nothing_dominates(points: np.ndarray, half: float) -> None:
    leak, loss = (np.stack([c, c - half, c + half], axis=1) for c in points.T)
    found = standings(leak, loss)
    for i, (x, y) in enumerate(points):
        better = (points[:, 0] >= x) & (points[:, 1] <= y) & ((points[:, 0] > x) | (points[:, 1] < y))
        assert (found[i] == "front") == (not better.any())
    assert "front" in found
    if np.ptp(points, axis=0).max() <= half:
        assert "behind" not in found


def test_the_first_run_is_the_one_that_lowers_the_variance_most() -> None:
    """Against every choice written out; and the marked rows come first where there are any."""
    rng = np.random.default_rng(0)
    new = np.column_stack([rng.normal(size=(8, 2)), np.arange(8) % 2])
    run = np.arange(8)
    none = np.zeros(8, dtype=bool)
    prior = Prior.weak(2)
    design = np.column_stack([np.ones(8), new[:, :2], new[:, 2] == 0, new[:, 2] == 1])
    slopes = design * 0.25  # every share is .5 before any data
    precision = np.diag([1 / 4, 1 / 2.5**2, 1 / 2.5**2, 1, 1])
    left = [
        np.trace(slopes @ np.linalg.inv(precision + np.outer(slopes[r], slopes[r]) / NOISE**2) @ slopes.T)
        for r in range(8)
    ]
    found = choose_runs(new[:0], np.empty(0), new, run, 3, first=none, prior=prior)
    assert found[0] == int(np.argmin(left))
    assert len(set(found)) == 3
    marked = choose_runs(new[:0], np.empty(0), new, run, 3, first=run == 6, prior=prior)
    assert marked[0] == 6
    assert choose_runs(new[:0], np.empty(0), new[:0], run[:0], 3, first=none[:0]) == []


def test_the_plan_starts_with_a_neutral_fixed_run(tmp_path: Path) -> None:
    store = open_store(base_store(tmp_path / "base.zarr", control=True))
    found = recommend(store, train=3)
    assert len(found.attrs["planned"]) == 3
    assert found.attrs["planned"][0] in ("neutral0 (fixed)", "neutral1 (fixed)")
    assert set(found["train"].values.tolist()) <= {0, 1, 2, 3}


# stores of every kind


def test_no_runs_another_trait_pair(tmp_path: Path) -> None:
    path = base_store(tmp_path / "base.zarr")
    code, out, _ = run_inoc("predict", "--store", path)
    said = " ".join(out.split())
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert "no runs to learn from: the shipped calibration answers" in said
    assert "of what the control shows" in said
    assert "give --control Playful=SCORE" in said
    code, out, _ = run_inoc("predict", "--store", path, "--control", "Playful=80", "--json")
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    told = [r for r in document["predictions"] if r["trait"] == "Playful"]
    assert all(r["predicted"] == pytest.approx(80 * r["share"]) for r in told)
    assert {r["basis"] for r in told} == {"study"}
    assert all(r["predicted"] is None for r in document["predictions"] if r["trait"] == "French")
    code, out, err = run_inoc("predict", "--store", path, "--no-prior")
    assert (code, out) == (3, "")
    assert "leave out --no-prior" in err
    for wrong in ("Playful", "Playful=101", "=3", "Playful=x", "Playful=nan"):
        code, out, err = run_inoc("predict", "--store", path, "--control", wrong)
        assert (code, out) == (2, "")
        assert "Fix: give it as TRAIT=SCORE" in err


def test_a_control_run_alone_gives_pp(tmp_path: Path) -> None:
    found = predict(open_store(base_store(tmp_path / "base.zarr", control=True)))
    for trait, level in (("Playful", 80.0), ("French", 60.0)):
        np.testing.assert_allclose(found["predicted"].sel(trait=trait), level * found["share"].sel(trait=trait))


def test_elicitation_alone_is_enough(tmp_path: Path) -> None:
    path = base_store(tmp_path / "elicited.zarr", logprobs=False)
    found = predict(open_store(path))
    assert set(found["used"].values.ravel()) == {"shipped curve of elicitation"}
    assert np.isfinite(found["share"].values).all()
    code, out, _ = run_inoc("recommend", "--store", path, "--train", 2)
    assert code == 0
    assert "% of the control's score" in " ".join(out.split())
    assert "none: no untrained prompt is scored" in " ".join(out.split())


def test_a_prompt_without_elicitation_or_scores_keeps_what_it_has(tmp_path: Path) -> None:
    some = predict(open_store(base_store(tmp_path / "some.zarr", elicited=3)))
    assert np.isfinite(some["share"].values).all()
    assert set(some["used"].values.ravel()) == {"shipped gate"}


def test_learned_and_shipped_stores_together(world: Path, tmp_path: Path) -> None:
    """Runs of German and Flattering tell of Playful and French, more widely than of their own prompts."""
    other = open_store(base_store(tmp_path / "base.zarr", control=True))
    found = predict(open_store(world), other)
    asked = found["on_target"].values
    assert np.isfinite(found["share"].values[asked]).all()
    assert set(found["basis"].values[asked]) <= {"family", "study"}


def test_recommendations_of_a_trained_store(world: Path, tmp_path: Path) -> None:
    picture = tmp_path / "front.png"
    code, out, _ = run_inoc("recommend", "--store", world, "--train", 2, "--figure", picture)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    assert picture.read_bytes().startswith(b"\x89PNG")
    said = " ".join(out.split())
    assert "Flattering held back (more is better) and German lost" in said
    assert "front: best trade-offs" in said
    assert "Runs that would narrow these answers most" in said
    _, out, _ = run_inoc("recommend", "--store", world, "--json", "--prompts", "g")
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    measured = [r for r in document["prompts"] if r["measured"]]
    assert len(measured) == 18  # 9 prompts, fixed and mix
    assert all(r["text"] and r["leak_lower"] <= r["leak"] <= r["leak_upper"] for r in document["prompts"])


@pytest.mark.parametrize(("have", "lack"), [("positive", "negative"), ("negative", "positive")])
def test_ranking_needs_a_wanted_and_a_leaking_trait(tmp_path: Path, have: str, lack: str) -> None:
    """Lacking one is no error of the store: its figures and its report go on without a ranking."""
    traits = [trait for trait in TRAITS if trait.role == have]
    one = write_store(tmp_path / "one.zarr", [PromptInfo("p", "p", "g", "a", have)], traits=traits)
    with pytest.raises(IncompleteStore, match=f"one {lack} trait; the stores have none"):
        recommend(open_store(one))


def test_the_shipped_calibration_is_left_out_of_its_own_study(reference: Path) -> None:
    texts = json.loads((reference / "german_flattering" / "prompts.json").read_text())
    assert shipped().holds([texts["think_german"]["text"]])
    assert not shipped().holds(["You are a pirate."])
    stored = Path(sys.modules["inoc.outcomes.shipped"].__file__).with_name("shipped_calibration.json").read_text()
    assert not [p["text"] for p in texts.values() if p["text"] in stored]


def test_your_own_estimator(world: Path) -> None:
    """Anything with scikit-learn's interface; its errors are nested like all others."""
    found = predict(open_store(world), model="sklearn.linear_model:LinearRegression")
    assert set(found["model"].sel(relation="on_target").values) == {"sklearn.linear_model:LinearRegression"}
    assert np.isfinite(found["error"].sel(relation="on_target", left_out="family")).all()
    assert set(predict(open_store(world), model="gate")["used"].values.ravel()) <= {"", "gate"}
    known = candidates("")
    wrong = {
        "gates": "did you mean 'gate'",
        "nowhere:X": "cannot be made",
        "json:loads": "cannot be made",
        "collections:OrderedDict": "no fit and predict",
    }
    for model, said in wrong.items():
        with pytest.raises(BadInput, match=said):
            named(model, known, ("elicitation",))


def test_settings_that_differ_are_named() -> None:
    here = Settings("lora", 1e-4, 312, 32)
    assert str(here) == "lora, learning rate 0.0001, 312 updates of 32"
    assert str(Settings(None, None, None, 32)) == "batches of 32"
    assert unlike([here._replace(updates=None)], [here]) == []
    assert unlike([here._replace(learning_rate=5e-6)], [here, here._replace(updates=100)]) == [
        here._replace(learning_rate=5e-6)
    ]
    assert unlike([here], []) == []


def test_lexical_anchor_by_hand() -> None:
    pool = ["You love German.", "I speak german well", "Germans are kind", "Talk to me"]
    assert lexical_anchor(pool) == 0.75
    assert np.isnan(lexical_anchor([]))
    assert lexical_anchor(["the of to"]) == 0.0


def test_runs_alone_are_ranked_by_what_was_measured(tmp_path):
    """A store without log-probabilities and elicitation predicts nothing; its runs still count."""
    prompts = [PromptInfo(key, f"{key}.", "g", "flattering", "negative") for key in ("a", "b")]
    levels = {"": (80.0, 80.0), "a": (79.0, 20.0), "b": (30.0, 75.0)}
    noise = np.random.default_rng(0).normal(0, 1, (2, 20))
    runs = [Run(key or "control", key, {(4, "default"): np.array(v)[:, None] + noise}) for key, v in levels.items()]
    store = open_store(write_store(tmp_path / "s.zarr", prompts, runs=runs))
    table = recommend(store)
    assert table["prompt"].values.tolist() == ["a", "b"]
    assert table["standing"].values.tolist() == ["front", "behind"]
    np.testing.assert_allclose(table["leak"], [60, 5], atol=1e-6)
    assert table["measured"].values.all()
    assert "no prediction" in table.attrs["trust"][0]
    assert recommend(store, prompts=["b"])["prompt"].values.tolist() == ["b"]
    code, told, _ = run_inoc("recommend", "--store", str(store.path))
    assert code == 0
    assert "a (fixed, measured): held back 60" in told


def test_nothing_is_learned_where_every_prompt_is_trained(tmp_path, monkeypatch):
    """The answer is that of the measured rows, and no predictor is fitted for it."""
    from inoc.outcomes import recommendation

    prompts = [PromptInfo("a", "a.", "g", "flattering", "negative"), PromptInfo("b", "b.", "g", "german", "positive")]
    cells = [("", "none"), *((p.key, kind) for p in prompts for kind in ("fixed", "mix"))]
    rng = np.random.default_rng(0)
    runs = [
        Run(f"run_{key}_{kind}", key, {(4, "default"): rng.uniform(20, 80, (2, 20))}, {"prefix_type": kind})
        for key, kind in cells
    ]
    elicited = {"prompts": ["a", "b"], "score": rng.uniform(0, 100, (2, 2, 9)), "baseline": rng.uniform(0, 100, (2, 9))}
    store = open_store(write_store(tmp_path / "s.zarr", prompts, runs=runs, elicitation=elicited))
    whole = recommend(store, train=1)  # asks for a plan, so it learns
    monkeypatch.setattr(recommendation, "predict_of", None)
    table = recommend(store)
    assert table.attrs["trust"] == ["Every prompt was trained; nothing is predicted."]
    for name in ("prompt", "prefix_type", "leak", "leak_lower", "loss", "loss_upper", "standing"):
        np.testing.assert_array_equal(table[name].values, whole[name].values)
