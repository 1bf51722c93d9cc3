"""`inoc heuristics`: the printed table, JSON, CSV, sorting, choices, notes, exit codes."""

import csv
import io
import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner, Result

import inoc
from inoc.cli import cli
from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.frame.table import compute


def call(store: object, *options: str) -> Result:
    result = CliRunner().invoke(cli, ["heuristics", "--store", str(store), *options])
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


@pytest.fixture(scope="module")
def h(world):
    return compute(inoc.open_store(world.path))


def test_the_table_has_every_row_units_and_intervals(world, h):
    text = call(world.path).stdout
    lines = text.splitlines()
    for prompt, role in zip(world.prompts, world.roles, strict=True):
        rows = [line.split() for line in lines if line.split()[:1] == [prompt]]
        assert [row[1] for row in rows] == [role, role]
        assert [row[2] for row in rows] == ["fixed", "mix"]
    assert "nats per token" in text
    assert "elicitation[German]" in text
    lower, upper = h["ph_ci"].sel(prompt="positive_0", prefix_type="fixed").values
    value = h["ph"].sel(prompt="positive_0", prefix_type="fixed").item()
    assert f"{value:+.3f} [{lower:.3f}, {upper:.3f}]" in text


def test_columns_of_one_heuristic_are_told_apart(world):
    heading = " ".join(call(world.path, "--only", "ppd").stdout.split())
    assert "ppd[control]" in heading


def test_the_note_on_nan_is_one_short_line_and_json_has_all(world):
    (line,) = [line for line in call(world.path).stderr.splitlines() if line.startswith("NaN")]
    assert "pca" not in line, "what is not shown is not spoken of"
    result = call(world.path, "--csv")
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("NaN")]
    assert 60 < len(line) <= 120
    assert line.endswith(" more (--json shows them).")
    variables = json.loads(call(world.path, "--json").stdout)["variables"]
    counts = [f"{name} {about['nan']}" for name, about in variables.items() if about.get("nan")]
    told, more = re.fullmatch(r"NaN, [a-z ]+: (.*) and (\d+) more .*", line).groups()
    assert told.split(", ") == counts[: len(counts) - int(more)]


@pytest.mark.parametrize("width", [80, 120])
def test_columns_that_do_not_fit_are_named(world, monkeypatch, width):
    """Also where stdout is no terminal: COLUMNS is obeyed; no name is cut; the measured baseline stays."""
    monkeypatch.setenv("COLUMNS", str(width))
    result = call(world.path)
    (said,) = [line for line in result.stderr.splitlines() if line.startswith(f"Left out at {width} columns: ")]
    assert said.endswith("; --only, --csv and --json show them.")
    assert "elicitation" not in said
    assert all(len(line) <= width for line in result.stdout.splitlines())
    for name in ("negative_3", " ph ", "[German]", "[Flattering]", "fixed"):
        assert name in result.stdout
    whole = call(world.path, "--csv").stdout.splitlines()[0].split(",")
    named = {name.split()[0] for name in said.split(": ")[1].split("; ")[0].split(", ")}
    assert named <= {*whole, "role"}


def test_json_is_one_document_with_everything(world, h):
    result = call(world.path, "--json")
    found = json.loads(result.stdout, parse_constant=pytest.fail)
    assert found["recipe"] == "corrected"
    assert len(found["rows"]) == 18
    row = next(r for r in found["rows"] if (r["prompt"], r["prefix_type"]) == ("neutral_7", "mix"))
    at = h.sel(prompt="neutral_7", prefix_type="mix")
    assert row["role"] == "neutral"
    assert row["ph"] == at["ph"].item()
    assert row["pca[2]"] == at["pca"].sel(component=2).item()
    assert row["ppd[control]"] is None  # scored with fixed only
    assert row["elicitation[German]"] == at["elicitation"].sel(trait="German").item()
    assert row["ph_ratio"] == at["ph_ratio"].sel(variant="raw").item()
    assert row["ph_ratio[svd1]"] == at["ph_ratio"].sel(variant="svd1").item()
    angle = found["arrays"]["angle"]
    assert angle["dims"] == ["representation", "prefix_type", "prompt", "other_prompt"]
    np.testing.assert_allclose(angle["values"], h["angle"].transpose(*angle["dims"]).values)
    assert found["variables"]["ph"]["units"] == "nats per token"
    absent = {name for name, why in found["absent"].items() if "inoc probe" not in why}
    assert absent == {"rephrase_mean_cos", "rephrase_min_cos", "rephrase_effective_rank", "pool_anchor"}
    other = next(r for r in found["rows"] if r["prompt"] == "negative_3")
    assert other["trait_svd[German,1]"] is None


def test_csv_has_the_same_numbers(world, h):
    rows = list(csv.DictReader(io.StringIO(call(world.path, "--csv", "--only", "ph,pca").stdout)))
    assert list(rows[0]) == ["prompt", "prefix_type", "role", "ph", "ph_ci[lower]", "ph_ci[upper]"] + [
        f"pca[{i}]" for i in range(1, 6)
    ]
    for row in rows:
        at = h.sel(prompt=row["prompt"], prefix_type=row["prefix_type"])
        assert float(row["ph"]) == at["ph"].item()
        assert float(row["pca[2]"]) == at["pca"].sel(component=2).item()


def test_sorting_is_largest_first_with_nan_last(world, h):
    rows = json.loads(call(world.path, "--json", "--sort", "ph").stdout)["rows"]
    values = [row["ph"] for row in rows]
    assert values == sorted(values, reverse=True)
    rows = json.loads(call(world.path, "--json", "--only", "H3", "--sort", "trait_svd[German,1]").stdout)["rows"]
    values = [row["trait_svd[German,1]"] for row in rows]
    assert all(v is None for v in values[-6:])
    assert values[:12] == sorted(values[:12], reverse=True)
    assert [
        r["pca[1]"] for r in json.loads(call(world.path, "--json", "--only", "gamma", "--sort", "pca").stdout)["rows"]
    ] == sorted(h["pca"].sel(component=1).values.ravel(), reverse=True)


def test_choices_of_rows_sets_and_recipe(world, h):
    found = json.loads(
        call(
            world.path, "--json", "--only", "ph", "--prefix-type", "fixed", "--prompts", "neutral_7,positive_1",
            "--set", "control", "--recipe", "published",
        ).stdout
    )  # fmt: skip
    assert [(r["prompt"], r["prefix_type"]) for r in found["rows"]] == [("positive_1", "fixed"), ("neutral_7", "fixed")]
    assert found["recipe"] == "published"
    assert found["completion_set"] == "control"


def test_only_shows_what_was_asked_for_and_what_is_of_no_single_prompt(world):
    result = call(world.path, "--only", "pca,angle", "--prefix-type", "fixed")
    assert "pca[5]" in result.stdout
    assert "pca_explained" in result.stdout
    assert "gamma" not in result.stdout
    assert "angle is a matrix of prompts by prompts" in result.stderr


def test_notes_and_absences_are_on_stderr(example_world):
    result = call(example_world.path)
    assert "stored as means over examples, without tokens" in result.stderr
    assert "more: the set 'train'" in call(example_world.path, "--csv").stderr
    assert "the store has no elicitation" in result.stderr
    assert "Absent" not in result.stdout


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--only", "gama"], "did you mean 'gamma'"),
        (["--prompts", "nobody"], "unknown scored prompt 'nobody'"),
        (["--set", "test"], "unknown completion set 'test'"),
        (["--sort", "angle"], "unknown column 'angle'"),
        (["--only", "ph", "--sort", "snrr"], "did you mean 'snr'"),
        (["--json", "--csv"], "exclude each other"),
    ],
)
def test_bad_input(world, options, message):
    with pytest.raises(BadInput, match=message):
        call(world.path, *options)


def test_nothing_to_compute_is_an_incomplete_store(example_world):
    with pytest.raises(IncompleteStore, match="nothing of what was asked can be computed: the set 'train'"):
        call(example_world.path, "--only", "coherence")


def test_exit_codes_and_one_sentence(world, tmp_path):
    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "inoc", "heuristics", *arguments],
            capture_output=True,
            text=True,
            env=os.environ | {"PYTHONWARNINGS": "error"},
        )

    fine = run("--store", str(world.path), "--only", "ph")
    assert fine.returncode == 0, fine.stderr
    assert fine.stderr == ""
    wrong = run("--store", str(world.path), "--only", "gama")
    assert wrong.returncode == 2
    assert wrong.stderr == "inoc: unknown heuristic 'gama'. Fix: did you mean 'gamma'?\n"
    nowhere = run("--store", str(tmp_path / "no.zarr"))
    assert nowhere.returncode == 2
    assert nowhere.stderr.count("\n") == 1
    assert "Traceback" not in nowhere.stderr
