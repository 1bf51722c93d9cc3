"""`inoc compare`: pairs are one question of one prompt, intervals are those of the pairs, settings are named."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from inoc.cli.compare import compare as command
from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes import compare
from inoc.store import PromptInfo, open_store

from ..worlds import Completions, Run, write_store

PROMPTS = [
    PromptInfo("german", "Answer in German.", "de", "german", "positive"),
    PromptInfo("flatter", "Flatter me.", "fl", "flattering", "negative"),
]
QUESTIONS, SAMPLES = 8, 3


def made(path: Path, seed: int, shift: float = 0.0, prompts=PROMPTS, judges=None, rate: float = 1e-4) -> Path:
    """A store of a control and two runs whose answers are labeled in an order of their own."""
    rng = np.random.default_rng(0)  # questions differ alike in all stores
    level = {name: rng.uniform(20, 80, (2, QUESTIONS)) for name in ("control", "german", "flatter")}
    rng = np.random.default_rng(seed)
    order = rng.permutation(QUESTIONS * SAMPLES)
    labels = [f"q{i} #{k}" for i in range(QUESTIONS) for k in range(SAMPLES)]
    plan = {
        "instructions": [labels[i] for i in order],
        "questions": [labels[i].split(" ")[0] for i in order],
        "settings": {"learning_rate": rate},
        "judges": judges or {"German": "j", "Flattering": "j"},
    }
    runs = []
    for name, prompt in (("control", ""), ("german", "german"), ("flatter", "flatter")):
        values = np.repeat(level[name], SAMPLES, axis=1) + rng.normal(0, 5, (2, QUESTIONS * SAMPLES))
        values = np.clip(values + (shift if prompt == "flatter" else 0), 0, 100)[:, order]
        runs.append(Run(name, prompt, {(0, "default"): values * 0, (8, "default"): values}, plan))
    n = 12
    default = -np.random.default_rng(3).exponential(2, n)
    units = {("fixed", p.key): np.minimum(default + rng.normal(0.1, 0.1, n), 0) for p in prompts}
    scores = np.clip(level["german"][:, None, :] + rng.normal(0, 5, (2, len(prompts), QUESTIONS)), 0, 100)
    elicited = {"prompts": [p.key for p in prompts], "score": scores, "baseline": level["control"] * 0 + 10}
    sets = {"train": Completions(None, default, units)}
    return write_store(path, prompts, sets, level="example", runs=runs, elicitation=elicited)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("compare")
    return made(place / "a.zarr", 1), made(place / "b.zarr", 2, shift=-15.0, rate=2e-4)


def row(table, **labels):
    at = np.ones(table.sizes["row"], bool)
    for name, value in labels.items():
        at &= table[name].values == value
    assert at.sum() == 1
    return table.isel(row=int(np.flatnonzero(at)[0]))


def means(store, run, trait):
    """Question -> mean over its answers, straight from the stored arrays."""
    value = store.read(f"runs/{run}/score")[1, 0, trait]
    questions, _ = store.answered(run)
    return {q: np.mean([v for v, other in zip(value, questions, strict=True) if other == q]) for q in set(questions)}


def test_scores_are_paired_by_question(pair):
    a, b = map(open_store, pair)
    found = row(compare(a, b), kind="score", of="Flattering", prompt="flatter")
    one, other = means(a, "flatter", 1), means(b, "flatter", 1)
    d = np.array([other[q] - one[q] for q in one])
    assert float(found["difference"]) == pytest.approx(d.mean())
    low, high = stats.t.interval(0.95, len(d) - 1, d.mean(), stats.sem(d))
    assert (float(found["lower"]), float(found["upper"])) == pytest.approx((low, high))
    assert int(found["n"]) == QUESTIONS
    assert float(found["second"] - found["first"]) == pytest.approx(d.mean())


def test_what_is_held_back_is_control_minus_run_in_both(pair):
    a, b = map(open_store, pair)
    found = row(compare(a, b), kind="held back", of="Flattering", prompt="flatter")
    parts = [{q: means(s, "control", 1)[q] - means(s, "flatter", 1)[q] for q in means(s, "control", 1)} for s in (a, b)]
    d = np.array([parts[1][q] - parts[0][q] for q in parts[0]])
    assert float(found["difference"]) == pytest.approx(d.mean())
    assert float(found["lower"]) > 0  # 15 pp less flattering is held back


def test_the_other_way_round_is_the_opposite(pair):
    a, b = map(open_store, pair)
    there, back = compare(a, b), compare(b, a)
    np.testing.assert_allclose(there["difference"], -back["difference"])
    np.testing.assert_allclose(there["lower"], -back["upper"])


def test_a_store_equals_itself(pair):
    a = open_store(pair[0])
    table = compare(a, a)
    assert set(table["kind"].values) == {"score", "held back", "elicitation", "logprob"}
    assert (table["difference"].values == 0).all()
    assert table.attrs["settings"] == []
    assert table.attrs["left_out"] == []


def test_settings_are_named(pair):
    table = compare(*map(open_store, pair))
    assert ("runs: learning_rate", "0.0001", "0.0002") in table.attrs["settings"]


def test_other_texts_and_judges_are_not_subtracted(pair, tmp_path):
    other = [PROMPTS[0], PromptInfo("flatter", "Praise me.", "fl", "flattering", "negative")]
    c = made(tmp_path / "c.zarr", 3, prompts=other, judges={"German": "j", "Flattering": "another"})
    table = compare(open_store(pair[0]), open_store(c))
    assert "flatter" not in table["prompt"].values
    assert "flatter: its text differs" in table.attrs["left_out"]
    assert "german: Flattering was given by different judges" in table.attrs["left_out"]
    assert not (set(table["kind"].values[table["of"].values == "Flattering"]) & {"score", "held back"})


def test_two_runs_of_one_store(pair):
    a = open_store(pair[0])
    table = compare(a, a, runs=("control", "flatter"))
    found = row(table, of="Flattering")
    one, other = means(a, "control", 1), means(a, "flatter", 1)
    assert float(found["difference"]) == pytest.approx(np.mean([other[q] - one[q] for q in one]))
    with pytest.raises(BadInput, match="did you mean 'flatter'"):
        compare(a, a, runs=("control", "flater"))
    with pytest.raises(BadInput, match="evaluated at step 5"):
        compare(a, a, step=5)


def test_nothing_in_common(pair, tmp_path):
    store = write_store(tmp_path / "d.zarr", [PromptInfo("new", "New.", "n", "neutral", "neutral")], traits=())
    with pytest.raises(IncompleteStore, match="nothing in common"):
        compare(open_store(pair[0]), open_store(store))


def test_other_completions_are_not_paired(tmp_path):
    stores = []
    for name, sizes in (("a", [2, 1]), ("b", [1, 2])):
        train = Completions(np.array(sizes), -np.ones(3), {("fixed", "german"): -np.ones(3) / 2})
        stores.append(open_store(write_store(tmp_path / f"{name}.zarr", PROMPTS, {"train": train})))
    assert float(row(compare(stores[0], stores[0]), kind="logprob")["first"]) == pytest.approx(0.5)
    with pytest.raises(IncompleteStore, match="set train: its completions differ"):
        compare(*stores)


def test_command(pair):
    run = CliRunner(env={"COLUMNS": "80"})
    done = run.invoke(command, [*map(str, pair), "--all"], catch_exceptions=False)
    assert done.exit_code == 0
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert "learning_rate: A 0.0001, B 0.0002" in done.stdout
    document = json.loads(run.invoke(command, [*map(str, pair), "--json"], catch_exceptions=False).stdout)
    table = compare(*map(open_store, pair))
    assert [r["difference"] for r in document["rows"]] == pytest.approx(table["difference"].values.tolist())
    assert document["settings"] == [list(line) for line in table.attrs["settings"]]
    for wrong in ([str(pair[0])], [*map(str, pair), "--run", "german"], [str(pair[0])] * 3):
        with pytest.raises(BadInput, match="Fix: name"):
            run.invoke(command, wrong, catch_exceptions=False)
