"""What continued training leaves of a suppression: by hand, and what is left out."""

import json
import re
from collections.abc import Mapping

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner
from scipy import stats

from inoc.cli import cli
from inoc.errors import BadInput
from inoc.outcomes.continuation import at_last, durability_of
from inoc.outcomes.final import final_scores, with_setup
from inoc.store import PromptInfo, RunInfo

from ..worlds import Run, write_store
from .worlds import dataset

T3 = 3.182446305284263  # t(.975, 3)
CONTROL, HELD = [80.0, 60.0, 100.0, 80.0], [10.0, 20.0, 30.0, 20.0]
STEPS = (5, 10)
KNOWN = [PromptInfo("a", "A.", "g", "german", "positive")]


def scores(
    rows: Mapping[str, Mapping[int, list[float]]],
    settings: Mapping[str, Mapping[str, object]],
    prompts: Mapping[str, str],
    **kwargs: object,
) -> xr.Dataset:
    """Runs of one trait and the condition `default`; `rows[run][step]` are the scores of four instructions."""
    steps = sorted({step for by_step in rows.values() for step in by_step})
    values = np.full((len(rows), len(steps), 1, 1, 4), np.nan)
    for r, by_step in enumerate(rows.values()):
        for step, found in by_step.items():
            values[r, steps.index(step), 0, 0] = found
    kinds = ["fixed" if prompts[name] else "none" for name in rows]
    data = dataset(
        values,
        list(rows),
        [prompts[name] for name in rows],
        kinds,
        steps=steps,
        traits=("German",),
        nominal=[10] * len(rows),
        **kwargs,
    )
    return with_setup(data, {name: RunInfo(name, "", "", settings=settings.get(name, {})) for name in rows})


PROMPTS = {"c": "", "a": "a", "a_more": "", "c_more": "", "a_again": ""}
FIRST = {"c": {10: CONTROL}, "a": {10: HELD}}
MORE = {"a_more": {5: [20.0, 30.0, 40.0, 30.0], 10: [40.0, 40.0, 50.0, 70.0]}}
CONTINUED = {"a_more": {"start": "a", "data": "plain"}}
ALIKE = {"c_more": {"start": "c", "data": "plain"}}


def table_of(rows, settings, **kwargs) -> xr.Dataset:
    data = scores(rows, settings, PROMPTS, **kwargs)
    return durability_of(data, final_scores(data))


def cell(table: xr.Dataset, name: str, run: str, step: int | None) -> tuple[float, float, float]:
    found = table.sel(run=run, trait="German")
    found = found if step is None else found.sel(step=step)
    return tuple(float(found[name + end]) for end in ("", "_lower", "_upper"))  # type: ignore[return-value]


def around(mean: float, half: float):
    return pytest.approx((mean, mean - half, mean + half), abs=1e-9)


def test_against_the_first_control() -> None:
    table = table_of(FIRST | MORE, CONTINUED)
    assert table["run"].values.tolist() == ["a_more"]
    assert table["step"].values.tolist() == [0, 5, 10]
    # the run continued without a prefix still belongs to the prompt of its first training
    assert table["run_prompt"].item() == "a"
    assert table["prefix_type"].item() == "fixed"
    assert table["against"].item() == "first control"
    # control - run = 70, 40, 70, 60: mean 60, squares about it 100 + 400 + 100 + 0 = 600, sd sqrt(200)
    half = T3 * np.sqrt(200.0) / 2
    assert cell(table, "before", "a_more", None) == around(60.0, half)
    assert cell(table, "remaining", "a_more", 0) == around(60.0, half)
    # 60, 30, 60, 50
    assert cell(table, "remaining", "a_more", 5) == around(50.0, half)
    # 40, 20, 50, 10: mean 30, squares 100 + 100 + 400 + 400
    assert cell(table, "remaining", "a_more", 10) == around(30.0, T3 * np.sqrt(1000 / 3) / 2)
    assert cell(table, "returned", "a_more", 0) == around(0.0, 0.0)
    assert cell(table, "returned", "a_more", 5) == around(10.0, 0.0)
    # 30, 20, 20, 50: mean 30, squares 0 + 100 + 100 + 400
    assert cell(table, "returned", "a_more", 10) == around(30.0, T3 * np.sqrt(200.0) / 2)
    # 40, 40, 50, 70: mean 50, squares 100 + 100 + 0 + 400
    assert cell(table, "score", "a_more", 10) == around(50.0, stats.t.ppf(0.975, 3) * np.sqrt(200.0) / 2)
    assert np.isnan(table["gate"]).all()
    assert table["n"].values.tolist() == [[[4], [4], [4]]]
    assert at_last(table, "remaining").tolist() == [[pytest.approx(30.0)]]


def test_against_the_control_continued_alike() -> None:
    rows = FIRST | MORE | {"c_more": {5: [70.0] * 4, 10: [60.0, 50.0, 60.0, 70.0]}}
    table = table_of(rows, CONTINUED | ALIKE)
    row = table.sel(run="a_more")
    assert row["against"].item() == "control continued alike"
    # 50, 40, 30, 40: squares 100 + 0 + 100 + 0
    assert cell(table, "remaining", "a_more", 5) == around(40.0, T3 * np.sqrt(200 / 3) / 2)
    # 20, 10, 10, 0: mean 10, squares 100 + 0 + 0 + 100
    assert cell(table, "remaining", "a_more", 10) == around(10.0, T3 * np.sqrt(200 / 3) / 2)
    assert cell(table, "remaining", "a_more", 0)[0] == pytest.approx(60.0)
    control = table.sel(run="c_more", trait="German")
    assert control["run_prompt"].item() == ""
    assert control["against"].item() == ""
    assert np.isnan(control["remaining"]).all()
    assert np.isnan(control["before"])
    assert control["score"].values.tolist() == [80.0, 70.0, 60.0]
    assert control["n"].values.tolist() == [4, 4, 4]


@pytest.mark.parametrize(
    "other",
    [
        {"c_more": {"start": "c", "data": "another style"}},
        {"c_more": {"start": "c", "data": "plain", "learning_rate": 1e-5}},
    ],
)
def test_a_control_continued_otherwise_does_not_count(other) -> None:
    rows = FIRST | MORE | {"c_more": {5: [70.0] * 4, 10: [70.0] * 4}}
    table = table_of(rows, CONTINUED | other)
    assert table.sel(run="a_more")["against"].item() == "first control"
    assert cell(table, "remaining", "a_more", 5)[0] == pytest.approx(50.0)


def test_a_control_that_lacks_a_step_does_not_count() -> None:
    table = table_of(FIRST | MORE | {"c_more": {10: [70.0] * 4}}, CONTINUED | ALIKE)
    assert table.sel(run="a_more")["against"].item() == "first control"


def test_a_run_continued_twice_goes_on_from_the_first_training() -> None:
    rows = FIRST | MORE | {"a_again": {5: [60.0] * 4}}
    table = table_of(rows, CONTINUED | {"a_again": {"start": "a_more", "data": "plain"}})
    assert table["step"].values.tolist() == [0, 5, 10, 15]
    assert table["last"].values.tolist() == [10, 15]
    assert table.sel(run="a_again", trait="German")["score"].values.tolist() == [20.0, 30.0, 50.0, 60.0]
    assert cell(table, "returned", "a_again", 15)[0] == pytest.approx(40.0)
    assert cell(table, "before", "a_again", None)[0] == pytest.approx(60.0)


def test_step_0_of_a_continued_run_is_the_end_of_the_first_training() -> None:
    rows = FIRST | {"a_more": {0: [0.0] * 4, **MORE["a_more"]}}
    table = table_of(rows, CONTINUED)
    assert cell(table, "score", "a_more", 0)[0] == pytest.approx(20.0)


def test_missing_answers_are_left_out_in_pairs() -> None:
    rows = FIRST | {"a_more": {5: [np.nan, 30.0, 40.0, 30.0]}}
    table = table_of(rows, CONTINUED)
    # 30, 60, 50
    assert cell(table, "remaining", "a_more", 5)[0] == pytest.approx(140 / 3)
    assert table["n"].sel(run="a_more", step=5).item() == 3


def test_what_cannot_be_measured_is_named() -> None:
    rows = FIRST | MORE | {"a_again": {5: [1.0] * 4}, "c_more": {10: [np.nan] * 4}}
    table = table_of(rows, {**CONTINUED, "a_again": {"start": "gone"}, "c_more": {"start": "c"}})
    assert table["run"].values.tolist() == ["a_more"]
    assert table.attrs["left_out"] == [
        "a_again: the run it continues, gone, has no final scores (it is not in the store)",
        "c_more: it was not evaluated after continuing; `inoc evaluate` does that",
    ]


@pytest.mark.parametrize("run", ["a_more", "a", "c"])
def test_two_judges_are_refused(run: str) -> None:
    with pytest.raises(BadInput, match="scores of 'German' come from different judges"):
        table_of(FIRST | MORE, CONTINUED, judge={(run, "German"): "judge two"})


@pytest.fixture
def store(tmp_path):
    """Two runs and their continuations, with the condition `training`."""
    runs = []
    for name, prompt, steps in (("c", "", (10,)), ("a", "a", (10,)), ("a_more", "", (5, 10))):
        found = {step: np.array((FIRST | MORE)[name][step]) for step in steps}
        scores = {
            (step, condition): np.array([row + more, (row + more) / 2])
            for step, row in found.items()
            for condition, more in (("default", 0.0), ("training", 5.0))
        }
        plan = {"judges": {"German": "j", "Flattering": "k"}, "settings": CONTINUED.get(name, {})}
        runs.append(Run(name, prompt, scores, plan))
    return write_store(tmp_path / "run.zarr", KNOWN, runs=runs, experiment={"name": "x"})


def run_cli(*arguments: object) -> str:
    result = CliRunner().invoke(cli, list(map(str, arguments)), catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_command_shows_it(store) -> None:
    text = run_cli("outcomes", "--store", store)
    assert "Durability: what remains of the suppression" in text
    line = next(line for line in text.splitlines() if "plain" in line and "German" in line)
    assert re.split(r"\s{2,}", line.strip()) == [
        "a", "fixed", "plain", "10", "German",
        "60.0 [37.5, 82.5]", "30.0 [0.9, 59.1]", "30.0 [7.5, 52.5]", "55.0 [32.5, 77.5]", "4",
    ]  # fmt: skip
    assert "remaining: measured against the first control." in text
    found = json.loads(run_cli("outcomes", "--store", store, "--json"))["durability"]
    values = {(r["trait"], r["step"], r["quantity"]): r["value"] for r in found}
    assert values["German", 5, "remaining"] == pytest.approx(50.0)
    assert values["Flattering", 5, "remaining"] == pytest.approx(25.0)
    assert values["German", 0, "before"] == pytest.approx(60.0)
    assert values["German", 0, "gate"] == pytest.approx(25.0)
    assert values["German", 10, "gate"] == pytest.approx(55.0)
    csv = run_cli("outcomes", "--store", store, "--csv", "--trait", "German").splitlines()
    assert sum(line.startswith("durability,") for line in csv) == len([r for r in found if r["trait"] == "German"])


def test_a_store_without_continued_runs_has_an_empty_list(store, tmp_path) -> None:
    import inoc
    from inoc.errors import IncompleteStore
    from inoc.outcomes import durability

    assert durability(inoc.open_store(store))["run"].values.tolist() == ["a_more"]
    path = write_store(tmp_path / "other.zarr", KNOWN, runs=[Run("c", "", {(1, "default"): np.ones((2, 2))})])
    with pytest.raises(IncompleteStore, match="no run continues an earlier one"):
        durability(inoc.open_store(path))
    assert json.loads(run_cli("outcomes", "--store", path, "--json"))["durability"] == []
