"""Every kind of problem is named by group and variable; `inoc validate` and `inoc info` on the command line."""

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from click.testing import CliRunner

from inoc.cli.info import info
from inoc.cli.validate import validate as validate_command
from inoc.errors import BrokenStore
from inoc.store import files, open_store, staging
from inoc.store.schema import VariableSpec
from inoc.store.validate import validate

Change = Callable[[Path], None]


def values(where: str, new: object, dims: tuple[str, ...], dtype: str) -> Change:
    """Write a sound array with other content."""

    def change(store: Path) -> None:
        with staging.transaction(store) as t:
            t.array(where, np.asarray(new, dtype=object if dtype == "string" else dtype), VariableSpec(dims, dtype))

    return change


def attributes(where: str, **new: object) -> Change:
    def change(store: Path) -> None:
        node = store / where
        document = files.read_node(node, where)
        merged = {**files.node_attributes(document), **new}
        kept = {k: v for k, v in merged.items() if v is not ...}
        (node / "zarr.json").write_bytes(files.node_bytes({**document, "attributes": kept}))

    return change


def moved(old: str, new: str) -> Change:
    return lambda store: (store / old).rename(store / new) and None


RUN, LP = "runs/german_mix", "logprobs/train"
CASES: Mapping[str, tuple[Change, str]] = {
    "missing variable": (moved(f"{LP}/row_size", "logprobs/.gone"),
                         "/logprobs/train/row_size: its zarr.json is missing"),
    "unknown variable": (moved(f"{LP}/example", f"{LP}/exemple"),
                         "/logprobs/train/exemple: unknown to the schema"),
    "unknown group": (moved("embeddings", "embedding"), "/embedding: unknown to the schema"),
    "dims": (values("prompts/role", ["neutral"] * 3, ("prompts",), "string"), "/prompts/role: dims"),
    "dtype": (values(f"{RUN}/update", np.arange(6.0), ("update",), "float64"), "/runs/german_mix/update: type float64"),
    "sizes": (values("prompts/role", ["neutral"] * 2, ("prompt",), "string"), "but .* has 3"),
    "row_size": (values(f"{LP}/row_size", [3, 0, 5, 1, 6], ("example",), "int64"),
                 "/logprobs/train/row_size: adds up to 15 tokens, 16"),
    "row_size of completions": (values(f"{LP}/row_size", [3, 1, 4, 1, 7], ("example",), "int64"),
                                "differs from /completions/train/row_size"),
    "duplicate prompt": (values("prompts/prompt", ["german", "sky", "sky"], ("prompt",), "string"),
                         "/prompts/prompt: 'sky' comes twice"),
    "unknown prompt": (values(f"{LP}/prompt", ["german", "flatter", "moon"], ("prompt",), "string"),
                       "/logprobs/train/prompt: prompt 'moon' is not among /prompts"),
    "unknown prefix type": (values(f"{LP}/prefix_type", ["fixed", "both"], ("prefix_type",), "string"),
                            "unknown prefix type 'both'"),
    "unknown role": (values("prompts/role", ["good"] * 3, ("prompt",), "string"), "/prompts/role: prompt 'german' has"),
    "unknown trait": (values(f"{RUN}/trait", ["German", "Rude"], ("trait",), "string"),
                      "/runs/german_mix/trait: unknown trait 'Rude'"),
    "marker": (values(f"{LP}/default_crc", np.asarray(5), (), "int64"), "/logprobs/train/default: the data of cell"),
    "elicitation range": (values("elicitation/baseline", [[101.0, 0], [0, 0]], ("trait", "instruction"), "float64"),
                          "/elicitation/baseline: 1 values outside 0 to 100"),
    "token ids": (values("completions/train/token_id", np.arange(15), ("token",), "int32"),
                  "/completions/train/token_id: 15 ids for 16 tokens"),
    "run prompt": (attributes(RUN, prompt="moon"), "/runs/german_mix: prompt 'moon' is not among"),
    "run prefix type": (attributes(RUN, prefix_type="both"), "/runs/german_mix: unknown prefix type"),
    "run attribute": (attributes(RUN, seed=...), "/runs/german_mix: attribute seed is missing"),
    "complete": (attributes("", complete=True), "marked complete, but 3 units are pending"),
    "root attribute": (attributes("", identity=...), "attribute identity is missing"),
    "traits": (attributes("", traits=[{"name": "x"}]), "attribute traits is not a list"),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_each_problem_is_named(tiny: Path, name: str) -> None:
    change, pattern = CASES[name]
    change(tiny)
    problems = validate(tiny)
    assert any(re.search(pattern, p) for p in problems), problems


def test_positive_logprobs_are_found_though_their_marker_agrees(
    tiny: Path, scenario: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    from inoc.store import StoreWriter, Unit, units

    monkeypatch.setattr(units, "checked", lambda v, dtype, where: np.array(v, dtype))
    with StoreWriter.open(tiny, identity=scenario.IDENTITY, experiment={}, provenance={}) as writer:
        writer.put_unit(Unit("train", "fixed", "sky"), np.full(16, 0.5))
    assert any("16 infinite or positive log-probabilities" in p for p in validate(tiny))


def test_run_data_against_their_marker(tiny: Path) -> None:
    a, b = tiny / f"{RUN}/score/c/0/0/0/0", tiny / f"{RUN}/score/c/1/0/0/0"
    b.write_bytes(a.read_bytes())
    assert any("/runs/german_mix/score: the data of cell [1, 0] differ" in p for p in validate(tiny))


def test_a_sound_store_has_no_problems(tiny_store: Path) -> None:
    assert validate(tiny_store) == []


def test_the_command_says_valid_or_what_is_wrong(tiny: Path) -> None:
    good = CliRunner().invoke(validate_command, [str(tiny)], catch_exceptions=False)
    assert good.exit_code == 0
    assert good.stdout.strip() == f"{tiny}: valid"
    CASES["duplicate prompt"][0](tiny)
    bad = CliRunner().invoke(validate_command, ["--store", str(tiny), "--json"])
    assert isinstance(bad.exception, BrokenStore)
    assert bad.exception.exit_code == 2
    document = json.loads(bad.stdout)
    assert document["valid"] is False
    assert "/prompts/prompt: 'sky' comes twice." in document["problems"]
    (tiny / "zarr.json").write_text("{")
    broken = CliRunner().invoke(validate_command, [str(tiny), "--json"])
    assert "damaged" in json.loads(broken.stdout)["problems"][0]


def test_info_counts_what_is_there(tiny_store: Path) -> None:
    result = CliRunner().invoke(info, [str(tiny_store), "--json"], catch_exceptions=False)
    said = json.loads(result.stdout)
    assert said["prompts"] == {"positive": 1, "negative": 1, "neutral": 1}
    train, control = said["sets"]
    assert (train["completion_set"], train["tokens"], train["units_done"], train["missing"]) == ("train", 16, 7, 7)
    assert (control["level"], control["tokens"], control["examples"]) == ("example", None, 2)
    (run,) = said["runs"]
    assert run["judges"] == {"German": "judge-1", "Flattering": "judge-2"}
    assert (run["evaluations_done"], run["evaluations_pending"], run["missing"]) == (3, 3, 3)
    assert said["traits"][0] == {"name": "German", "role": "positive", "family": "german"}
    assert said["identity"]["template"] == {"hash": "abc", "system": None}
    assert said["bytes_on_disk"] == sum(p.stat().st_size for p in tiny_store.rglob("*") if p.is_file())
    text = CliRunner().invoke(info, [str(tiny_store)], catch_exceptions=False).stdout
    for piece in ("not complete", "german_mix", "0, 4, 8", "3 rephrasing pools", "judge-1, judge-2"):
        assert piece in text


def test_without_a_store_both_ask_for_one() -> None:
    for command in (info, validate_command):
        result = CliRunner().invoke(command, [])
        assert result.exit_code == 2
        assert "no store is named" in result.output
    assert open_store  # imported lazily by the commands
