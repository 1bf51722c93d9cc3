"""Outcomes and predictions through real stores and the command line."""

import csv
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from inoc.cli.outcome_records import Outcomes
from inoc.cli.outcome_tables import print_tables
from inoc.errors import BadInput, IncompleteStore
from inoc.outcomes import gap, levels, performance, predict, suppression
from inoc.outcomes.performance_table import performance_of
from inoc.outcomes.tidy import heuristic_columns, rows, rows_of
from inoc.store.imports import Sources, import_run
from inoc.store.schema import PromptInfo, ScoreInfo
from inoc.store.store import open_store

from ..command_line import run_inoc
from ..figures.worlds import write_world
from ..worlds import Run, write_store
from .worlds import simulated_rows


@pytest.fixture(scope="module")
def folder(reference: Path) -> Path:
    return reference / "german_flattering"


@pytest.fixture(scope="module")
def store(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("stores") / "gf.zarr"
    sources = Sources(
        [folder / "logprobs_by_example.json"],
        prompts=folder / "prompts.json",
        elicitation=folder / "elicitation.json",
        scores=[folder / "scores.json"],
    )
    import_run(sources, path)
    return path


def small_store(path: Path, *, judge: str = "judge one", prompts: int = 2) -> Path:
    """A control and some fixed runs, no logprobs."""
    rng = np.random.default_rng(0)
    keys = [f"p{i}" for i in range(prompts)]
    known = [PromptInfo(key, key, "g", "german", "positive") for key in keys]
    runs = [
        Run(
            name,
            "" if name == "control" else name,
            {(5, "default"): level + rng.normal(0, 1, (2, 10))},
            {"judges": {"German": judge, "Flattering": judge}, "nominal_step": -1},
        )
        for name, level in [("control", 80.0), *((k, 30.0) for k in keys)]
    ]
    return write_store(path, known, runs=runs)


# through the store


@pytest.mark.reference
@pytest.mark.parametrize("step", [312, 313])
def test_the_imported_store_gives_the_golden_suppression(store: Path, folder: Path, step: int) -> None:
    golden = json.loads((folder / "golden.json").read_text())["suppression_paired_t"][str(step)]
    table = suppression(open_store(store), step=step)
    for name, expected in golden.items():
        run, trait = name.split("|")
        cell = table.sel(run=run, trait=trait)
        found = [cell[part].item() for part in ("mean", "lower", "upper", "n")]
        assert found == pytest.approx([expected[k] for k in ("mean", "ci_lo", "ci_hi", "n")], abs=1e-5)


@pytest.mark.reference
def test_performance_and_prediction_run_end_to_end(store: Path) -> None:
    opened = open_store(store)
    wanted = ["ph", "H1", "trait_svd", "pca[1]", "ph_ratio", "mean_abs"]
    table = performance(opened, wanted, resamples=100)
    names = ["ph", "elicitation", "trait_svd[1]", "trait_svd[2]", "trait_svd[3]", "pca[1]", "ph_ratio"]
    assert table["heuristic"].values.tolist() == names
    assert [line.split(":")[0] for line in table.attrs["absent"]] == ["mean_abs"]
    tidy = rows(opened, only=["ph"])
    one = table.sel(heuristic="ph", target="mix")
    used = (tidy["on_target"] & (tidy["prefix_type"] == "mix") & np.isfinite(tidy["suppression"])).values
    x = tidy["heuristic_value"].sel(heuristic="ph").values
    used &= np.isfinite(x)
    assert one["n"].item() == used.sum() == 8
    assert np.isnan(one["r"].item())  # 8 rows, but 6 prompts
    assert one["reason"].item() == "6 distinct prompts; a correlation needs 8"
    found = predict(opened)
    assert "natural_german" in found["prompt"].values
    errors = found["error"].sel(relation="on_target", left_out="family")
    assert np.isfinite(errors).all()
    assert found["prompts"].sel(relation="on_target").values.tolist() == [6, 7]
    assert levels(opened)["n"].sel(run="answer_german", step=0, condition="default", score="German").item() == 200


@pytest.mark.reference
def test_rows_carry_the_heuristic_of_their_own_prefix_type_and_trait(store: Path) -> None:
    from inoc.heuristics.frame.table import compute

    opened = open_store(store)
    computed = compute(opened, only=("ph", "elicitation"))
    tidy = rows(opened, computed).to_dataframe().reset_index()
    cell = tidy[(tidy.prompt == "answer_german") & (tidy.prefix_type == "mix") & (tidy.trait == "Flattering")]
    values = dict(zip(cell.heuristic, cell.heuristic_value, strict=True))
    assert values["ph"] == computed["ph"].sel(prompt="answer_german", prefix_type="mix").item()
    expected = computed["elicitation"].sel(prompt="answer_german", trait="Flattering").item()
    assert values["elicitation"] == expected
    assert not cell.on_target.any()


def test_seeds_are_averaged_into_one_row() -> None:
    held = xr.Dataset(
        {
            "mean": (("run", "trait"), [[10.0], [30.0], [np.nan]]),
            "control": (("run", "trait"), [[90.0], [80.0], [np.nan]]),
        },
        coords={
            "run": ["a0", "a1", "a2"],
            "trait": ["German"],
            "run_prompt": ("run", ["a"] * 3),
            "prefix_type": ("run", ["fixed"] * 3),
        },
    )
    for part in ("lower", "upper"):
        held[part] = held["mean"]
    held["n"] = held["mean"].fillna(0).astype(int)
    gaps = xr.Dataset({"mean": (("prompt", "trait"), np.empty((0, 1)))}, coords={"prompt": [], "trait": ["German"]})
    traits = [ScoreInfo("German", "positive", "german")]
    table = rows_of(held, gaps, xr.Dataset(), "e", {"a": "german"}, traits)
    assert table.sizes["row"] == 1
    assert table["suppression"].item() == 20.0
    assert table["control"].item() == 85.0
    assert bool(table["on_target"].item())


def test_a_gap_is_of_paired_runs_or_a_difference_of_means() -> None:
    """Corrected tables take the gap of pairs (7), published ones suppression of fixed minus that of mix (10 - 4)."""
    mean = (("run", "trait"), [[10.0], [4.0]])
    kinds = ("run", ["fixed", "mix"])
    held = xr.Dataset(
        {**dict.fromkeys(("mean", "lower", "upper", "control"), mean), "n": (mean[0], [[9], [9]])},
        coords={"run": ["a0", "a1"], "trait": ["German"], "run_prompt": ("run", ["a", "a"]), "prefix_type": kinds},
    )
    gaps = xr.Dataset({"mean": (("prompt", "trait"), [[7.0]])}, coords={"prompt": ["a"], "trait": ["German"]})
    traits = [ScoreInfo("German", "positive", "german")]
    for recipe, expected in (("corrected", 7.0), ("published", 6.0)):
        table = rows_of(held, gaps, xr.Dataset(), "e", {"a": "german"}, traits, recipe=recipe)
        assert table["gap"].values.tolist() == [expected] * 2


def test_a_heuristic_has_three_components_as_columns() -> None:
    values = np.arange(5.0)[None]
    made = xr.Dataset({"pca": (("prompt", "component"), values)}, coords={"prompt": ["a"], "component": range(1, 6)})
    names, columns = heuristic_columns(made, [("a", "fixed", "German"), ("b", "fixed", "German")])
    assert names == ["pca[1]", "pca[2]", "pca[3]"]
    np.testing.assert_array_equal(columns, [[0, np.nan], [1, np.nan], [2, np.nan]])


def test_stores_with_different_judges_are_not_pooled(tmp_path: Path) -> None:
    stores = [open_store(small_store(tmp_path / f"{judge}.zarr", judge=f"judge {judge}")) for judge in ("one", "two")]
    nothing = [xr.Dataset(coords={"prompt": ["p0"]})] * 2
    with pytest.raises(BadInput, match=r"'German'.*'judge one' \(one\).*'judge two' \(two\)"):
        rows(stores, nothing)
    assert rows(stores, nothing, recipe="published").sizes["row"] == 8


def test_the_same_store_twice_is_refused(tmp_path: Path) -> None:
    opened = open_store(small_store(tmp_path / "one.zarr"))
    with pytest.raises(BadInput, match="same name"):
        rows([opened, opened], [xr.Dataset()] * 2)


def test_a_store_without_runs_says_what_makes_them(tmp_path: Path) -> None:
    opened = open_store(write_store(tmp_path / "e.zarr", traits=[]))
    for function in (suppression, gap, levels):
        with pytest.raises(IncompleteStore, match=r"inoc train.*inoc import --scores"):
            function(opened)


# the command line


@pytest.mark.reference
def test_outcomes_tables(store: Path) -> None:
    code, out, _ = run_inoc("outcomes", "--store", store)
    assert code == 0
    assert "no performance table: 6 distinct prompts; a correlation needs 8." in out
    assert "87.2 [84.3, 90.1]" in out
    assert "control run, mean score: German 89.0, Flattering 45.3" in out
    assert "left out: avoid_flattery: steps contradict each other (Flattering 27.3 at step 312, 39.1" in out
    assert out.index("answer_german") < out.index("flatterer_mindset") < out.index("coffee_is_hot")
    words = ("--include-flagged", "--trait", "German", "--heuristics", "ph")
    code, out, _ = run_inoc("outcomes", "--store", store, *words)
    assert "flagged, kept because asked for: avoid_flattery" in out
    assert "Flattering 45.3" not in out


@pytest.mark.slow  # computes all heuristics of a store twice
def test_the_performance_table_and_chosen_prompts(tmp_path: Path) -> None:
    path = write_world(tmp_path / "world.zarr", each=4, trained=3, more=False)
    code, out, _ = run_inoc("outcomes", "--store", path)
    assert code == 0
    assert re.search(r"20 of \d+ heuristics shown", out)
    assert "self_perplexity_raw, self_perplexity_context: the store has no self-perplexity" in out
    assert "always guessing the mean" in out
    assert "9 distinct prompts" in out
    words = ("outcomes", "--store", path, "--prompts", "german_prompt_number_0,neutral_prompt_number_1", "--json")
    words += ("--heuristics", "ph,elicitation")
    code, out, _ = run_inoc(*words)
    document = json.loads(out)
    for name in ("suppression", "gap"):
        assert {r["prompt"] for r in document[name]} == {"german_prompt_number_0", "neutral_prompt_number_1"}
    assert {r["note"] for r in document["performance"]} == {"2 distinct prompts; a correlation needs 8"}
    code, out, err = run_inoc("outcomes", "--store", path, "--prompts", "german_prompt_0")
    assert (code, out) == (2, "")
    assert "did you mean 'german_prompt_number_0'" in err


def test_a_control_without_the_trait_is_said(tmp_path: Path) -> None:
    scores = {(5, "default"): np.array([np.full(10, 60.0), np.full(10, 3.0)])}
    settings = {"judges": {"German": "one", "Flattering": "one"}, "nominal_step": -1}
    known = [PromptInfo("p0", "p0", "g", "german", "positive")]
    runs = [Run("control", "", scores, settings), Run("p0", "p0", scores, settings)]
    path = write_store(tmp_path / "weak.zarr", known, runs=runs)
    _, out, _ = run_inoc("outcomes", "--store", path)
    assert "The control run shows 3.0 of Flattering (of 100): there is nothing to hold back" in " ".join(out.split())
    assert "of German (of 100)" not in out
    _, out, _ = run_inoc("outcomes", "--store", path, "--json")
    assert len(json.loads(out)["warnings"]) == 1


@pytest.mark.reference
def test_outcomes_json_and_csv_say_the_same(store: Path) -> None:
    words = ("outcomes", "--store", store, "--heuristics", "ph,elicitation")
    code, out, _ = run_inoc(*words, "--json")
    assert code == 0
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    code, out, _ = run_inoc(*words, "--csv")
    table = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    for name in ("suppression", "cross", "gap", "performance"):
        mine = [row for row in table if row["table"] == name]
        assert len(mine) == len(document[name]) > 0
        for row, record in zip(mine, document[name], strict=True):
            assert (row["value"] == "") == (record["value"] is None)
            if record["value"] is not None:
                assert float(row["value"]) == record["value"]
            assert row["note"] == record["note"]
    assert {r["heuristic"] for r in document["performance"]} == {"ph", "elicitation"}
    missing = [r for r in document["suppression"] if r["value"] is None]
    assert {r["run"] for r in missing} == {"avoid_flattery"}
    assert all("contradict" in r["note"] for r in missing)


def test_a_store_without_logprobs_still_gives_suppression(tmp_path: Path) -> None:
    path = small_store(tmp_path / "one.zarr")
    code, out, _ = run_inoc("outcomes", "--store", path)
    assert code == 0
    assert "no performance table" in out
    expected = suppression(open_store(path))["mean"].sel(run="p0", trait="German").item()
    assert f"{expected:.1f} [" in out
    code, out, _ = run_inoc("outcomes", "--store", path, "--json")
    assert json.loads(out)["performance"] is None


def test_bad_input_is_one_sentence(tmp_path: Path) -> None:
    path = small_store(tmp_path / "one.zarr")
    code, out, err = run_inoc("outcomes", "--store", path, "--trait", "german")
    assert (code, out) == (2, "")
    assert "did you mean 'German'?" in err
    code, out, err = run_inoc("outcomes", "--store", path, "--step", 9)
    assert (code, out) == (2, "")
    assert "use one of the stored steps 5" in err
    code, out, err = run_inoc("outcomes", "--store", tmp_path / "none.zarr")
    assert (code, out) == (2, "")
    code, out, err = run_inoc("outcomes", "--store", write_store(tmp_path / "e.zarr", traits=[]))
    assert (code, out) == (3, "")
    assert "inoc train" in err
    assert "Traceback" not in err


def test_one_trained_prompt_gives_a_sentence_and_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    rows = simulated_rows(np.random.default_rng(0), 12)
    for prompts, said in (
        (["p0"], "1 distinct prompt; a correlation needs 8."),
        ([f"p{i}" for i in range(7)], "7 distinct prompts; a correlation needs 8."),
        ([f"p{i}" for i in range(8)], ""),
    ):
        kept = rows.isel(row=np.isin(rows["prompt"].values, prompts))
        kept = kept.assign_coords(on_target=("row", np.ones(kept.sizes["row"], dtype=bool)))
        kept["cross"] = kept["gap"] = kept["cross_control"] = kept["control"]
        print_tables(Outcomes({}, performance_of(kept, resamples=20)), 20)
        out = capsys.readouterr().out
        assert (f"no performance table: {said}" in out) == bool(said)
        assert ("error on a new family" in out) != bool(said)


@pytest.mark.reference
def test_predict_advises_and_admits(store: Path) -> None:
    code, out, _ = run_inoc("predict", "--store", store)
    assert code == 0
    assert max(map(len, out.splitlines())) <= 80
    out = " ".join(out.split())
    cards = re.findall(r"natural_german \(fixed\): (predicted \d+ pp [^)]*\))", out)
    assert len(cards) == 1
    assert "outside the range of what was trained (" in cards[0]
    assert re.search(r"\(mix\): predicted \d+ pp \[", out)
    assert "learned from 6 distinct prompts" in out
    assert "Rough: fewer than 20 prompts." in out
    assert "with elicitation only" in out
    assert "left out of the learning: avoid_flattery" in out
    code, out, _ = run_inoc("predict", "--store", store, "--trait", "German", "--json")
    document = json.loads(out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert {r["trait"] for r in document["predictions"]} == {"German"}
    assert all(r["predicted"] is not None or r["reason"] for r in document["predictions"])
    assert "answer_german" not in {r["prompt"] for r in document["predictions"]}
    assert len(document["models"]) == 4
    found = [r for r in document["predictions"] if r["predicted"] is not None]
    assert all(r["lower"] <= r["predicted"] <= r["upper"] for r in found)


@pytest.mark.reference
def test_predict_for_another_store(store: Path, folder: Path, tmp_path: Path) -> None:
    sources = Sources(
        [folder / "logprobs_by_example.json"], prompts=folder / "prompts.json", elicitation=folder / "elicitation.json"
    )
    other = tmp_path / "untrained.zarr"
    import_run(sources, other)
    code, out, err = run_inoc("predict", "--store", store, "--for", other, "--json")
    assert code == 0, err
    prompts = {r["prompt"] for r in json.loads(out)["predictions"]}
    assert len(prompts) == 48  # nothing is trained there
    code, out, err = run_inoc("predict", "--store", other)
    assert (code, out) == (3, "")


def test_predict_refuses_few_prompts(tmp_path: Path) -> None:
    path = small_store(tmp_path / "one.zarr", prompts=3)
    code, out, err = run_inoc("predict", "--store", path)
    assert (code, out) == (3, "")
    assert "Traceback" not in err
