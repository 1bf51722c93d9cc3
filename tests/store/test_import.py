"""Importing foreign files: the reference layouts, every optional key, and each kind of bad input named where it is."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from inoc.cli.import_ import import_
from inoc.errors import BadInput
from inoc.store import ScoreInfo, Unit, open_store
from inoc.store.imports import ImportSummary, Sources, import_run
from inoc.store.validate import validate

Write = Callable[[str, object], Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a value as JSON (or text as it is) and return the path."""

    def writer(name: str, value: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(value if isinstance(value, str) else json.dumps(value))
        return path

    return writer


def means(**more: object) -> dict[str, object]:
    """A small file of example means."""
    return {
        "params": {"model": "m", "prompts": {"p": "Be German.", "q": "Flatter."}},
        "baseline": {"lp_train_default": [-2.0, -1.0, -3.0], "lp_ctrl_default": [-0.5, -0.25]},
        "prompts": {
            "p": {"prompt": "Be German.", "lp_train_inoc": [-1.5, -1.0, -2.0], "lp_train_mix": [-1.0, -1.0, -1.0],
                  "lp_ctrl_inoc": [-0.75, -0.25]},
            "q": {"prompt": "Flatter.", "lp_train_inoc": [-1.0, -2.0, -3.0], "lp_train_mix": [-2.0, -2.0, -2.0],
                  "lp_ctrl_inoc": [-0.5, -0.5]},
        },
        **more,
    }  # fmt: skip


def tokens() -> dict[str, object]:
    rows = [[-1.0, -2.0], [], [-3.0, -0.5, 0.0]]
    return {
        "params": {"model": "m"},
        "baseline": {"lp_train_default_tokens": rows},
        "prompts": {"p": {"lp_train_inoc_tokens": [[-0.5, -1.0], [], [-2.0, -0.25, 0.0]]}},
    }


PROMPTS = {
    "p": {"text": "Be German.", "group": "de", "family": "german", "role": "positive"},
    "q": {"text": "Flatter.", "group": "fl", "family": "flattering", "role": "negative"},
    "unscored": {"text": "Sky.", "group": "n", "family": "neutral", "role": "neutral"},
}


def elicitation(**more: object) -> dict[str, object]:
    def entry(a: float) -> dict[str, object]:
        return {"scores": {t: {"values": [a, a + 10, None], "mean": a + 5} for t in ("German", "Flattering")}}

    return {"neutral": entry(1.0), "p": entry(50.0), **more}


def scores(**changes: object) -> dict[str, object]:
    cell = {t: {"values": [10.0, 30.0], "mean": 20.0, "n_nan": 0} for t in ("German", "Flattering")}
    steps = {s: {"default": cell, "training": cell} for s in ("0", "12", "13")}
    return {
        "no_inoculation": {"type": "fixed", "lr": 1e-4, "user_prefix": "", "steps": steps},
        "p": {"type": "fixed", "lr": 1e-4, "user_prefix": "Be German.", "steps": steps},
        "q_mix": {"type": "mix", "lr": 1e-4, "rephrasings_key": "q", "steps": steps},
        **changes,
    }


def run_import(store: Path, *logprobs: Path, **sources: object) -> ImportSummary:
    return import_run(Sources(logprobs, **sources), store)  # pyright: ignore[reportArgumentType]


def refused(store: Path, pattern: str, *logprobs: Path, **sources: object) -> None:
    """Bad input: one sentence, and nothing is left behind."""
    before = {p for p in store.parent.rglob("*")}
    with pytest.raises(BadInput, match=pattern) as caught:
        run_import(store, *logprobs, **sources)
    assert "\n" not in str(caught.value)
    assert {p for p in store.parent.rglob("*")} == before


# what is right


def test_example_means(write: Write, tmp_path: Path) -> None:
    summary = run_import(tmp_path / "s.zarr", write("a.json", means()))
    assert (summary.prompts, summary.units, summary.units_missing) == (2, 8, 0)
    opened = open_store(tmp_path / "s.zarr")
    assert opened.completion_sets == ("train", "control")
    train, control = opened.example_logprobs(), opened.example_logprobs("control")
    assert train.default.tolist() == [-2.0, -1.0, -3.0]
    assert train.prefixed[:, 1].tolist() == [[-1.0, -2.0, -3.0], [-2.0, -2.0, -2.0]]
    assert control.prefix_types == ("fixed",)
    assert control.prefixed[0].tolist() == [[-0.75, -0.25], [-0.5, -0.5]]
    assert opened.identity["model"] == "m"
    assert opened.complete
    assert validate(tmp_path / "s.zarr") == []


def test_token_lists_and_both_levels_in_one_file(write: Write, tmp_path: Path) -> None:
    both = tokens()
    baseline, prompts = both["baseline"], both["prompts"]
    assert isinstance(baseline, dict)
    assert isinstance(prompts, dict)
    baseline["lp_train_default"] = [-1.5, None, -3.5 / 3]
    prompts["p"]["lp_train_inoc"] = [-0.75, None, -0.75]
    summary = run_import(tmp_path / "s.zarr", write("a.json", both))
    opened = open_store(tmp_path / "s.zarr")
    assert opened.levels() == ("token", "example")
    stored = opened.token_logprobs()
    assert stored.row_size.tolist() == [2, 0, 3]
    assert stored.default[:].tolist() == [-1.0, -2.0, -3.0, -0.5, 0.0]
    assert stored.prefixed[0, 0].tolist() == [-0.5, -1.0, -2.0, -0.25, 0.0]
    assert np.isnan(opened.example_logprobs().default[1])
    assert summary.missing_values["train, fixed, example level"] == 1
    assert validate(tmp_path / "s.zarr") == []


def test_all_that_is_optional_may_be_absent(write: Write, tmp_path: Path) -> None:
    lean = {"baseline": {"lp_train_default": [-1.0]}, "prompts": {"p": {"lp_train_inoc": [-0.5]}, "q": {}}}
    summary = run_import(tmp_path / "s.zarr", write("a.json", lean))
    assert summary.units == 2
    opened = open_store(tmp_path / "s.zarr")
    assert opened.example_logprobs().prompts == ("p",)
    assert [str(k) for k in opened.prompts["prompt"].values] == ["p", "q"]
    assert set(opened.prompts["role"].values) == {"unknown"}
    assert any("no role or family" in note for note in summary.notes)


def test_a_prompt_without_mix_among_others_is_pending(write: Write, tmp_path: Path) -> None:
    data = means()
    del data["prompts"]["q"]["lp_train_mix"]  # pyright: ignore[reportIndexIssue]
    summary = run_import(tmp_path / "s.zarr", write("a.json", data))
    assert summary.units_missing == 1
    opened = open_store(tmp_path / "s.zarr")
    assert opened.pending() == (Unit("train", "mix", "q"),)
    assert np.isnan(opened.example_logprobs().prefixed[1, 1]).all()
    assert not opened.complete
    assert validate(tmp_path / "s.zarr") == []


def test_positive_and_negative_sets_and_completions(write: Write, tmp_path: Path) -> None:
    data = means()
    data["baseline"] |= {"lp_pos_default": [-1.0], "lp_neg_default": [-2.0, -3.0], "control_completions": ["a", "b"]}  # pyright: ignore[reportOperatorIssue]
    data["prompts"]["p"] |= {"lp_pos_inoc": [-0.5], "lp_neg_inoc": [-1.0, -1.0]}  # pyright: ignore[reportIndexIssue]
    run_import(tmp_path / "s.zarr", write("a.json", data))
    opened = open_store(tmp_path / "s.zarr")
    assert opened.completion_sets == ("train", "control", "positive", "negative")
    assert opened.example_logprobs("negative").prompts == ("p",)
    assert opened.completions("control")["completion"].values.tolist() == ["a", "b"]


def test_nan_is_missing_data_and_counted(write: Write, tmp_path: Path) -> None:
    text = json.dumps(means()).replace("-1.5", "NaN").replace("-0.75", "null")
    summary = run_import(tmp_path / "s.zarr", write("a.json", text))
    assert summary.missing_values["train, fixed, example level"] == 1
    assert summary.missing_values["control, fixed, example level"] == 1
    assert np.isnan(open_store(tmp_path / "s.zarr").example_logprobs().prefixed[0, 0, 0])


def test_stored_scalars_that_contradict_are_reported(write: Write, tmp_path: Path) -> None:
    data = means()
    entry = data["prompts"]["p"]  # pyright: ignore[reportIndexIssue]
    entry |= {"perplexity_heuristic": 0.5, "pointwise_perplexity_drift": 0.9, "n_train": 4, "n_control": 2}
    bad = elicitation()
    bad["p"]["scores"]["German"]["mean"] = 99.0  # pyright: ignore[reportIndexIssue]
    runs = scores()
    runs["p"]["steps"]["12"]["default"]["Flattering"]["n_nan"] = 1  # pyright: ignore[reportIndexIssue]
    summary = run_import(
        tmp_path / "s.zarr", write("a.json", data), prompts=write("p.json", PROMPTS),
        elicitation=write("e.json", bad), scores=[write("s.json", runs)],
    )  # fmt: skip
    text = "\n".join(summary.warnings)
    assert "p.pointwise_perplexity_drift says 0.9, its own arrays give 0.125" in text
    assert "p.n_train says 4" in text
    assert "p.scores.German.mean says 99" in text
    assert "n_nan says 1" in text
    assert "perplexity_heuristic" not in text  # 0.5 is right
    assert open_store(tmp_path / "s.zarr").provenance["warnings"] == summary.warnings


def test_unknown_keys_are_listed_not_fatal(write: Write, tmp_path: Path) -> None:
    data = means(extra=1)
    data["prompts"]["p"]["lp_train_other"] = [1]  # pyright: ignore[reportIndexIssue]
    summary = run_import(tmp_path / "s.zarr", write("a.json", data))
    assert summary.ignored == ["a.json: extra", "a.json: prompts.*.lp_train_other"]


def test_jsonl_rows(write: Write, tmp_path: Path) -> None:
    rows = [
        {"prompt": None, "prefix_type": "none", "example_id": "b", "token_ids": [4, 5], "logprobs": [-1, -2]},
        {"prefix_type": "none", "example_id": 7, "token_ids": [6], "logprobs": [None], "completion": "x"},
        {"prompt": "p", "prefix_type": "mix", "example_id": 7, "token_ids": [6], "logprobs": [-3], "rephrasing": 2},
        {"prompt": "p", "prefix_type": "fixed", "example_id": "b", "token_ids": [4, 5], "logprobs": [-0.5, -1]},
    ]  # fmt: skip
    summary = run_import(tmp_path / "s.zarr", write("a.jsonl", "\n\n".join(json.dumps(r) for r in rows) + "\n"))
    opened = open_store(tmp_path / "s.zarr")
    stored = opened.token_logprobs()
    assert stored.example_ids == ("b", "7")
    assert opened.completions()["token_id"].values.tolist() == [4, 5, 6]
    assert opened.completions()["completion"].values.tolist() == ["", "x"]
    assert stored.prefix_types == ("fixed", "mix")
    assert np.array_equal(stored.prefixed[0, 0], [-0.5, -1, np.nan], equal_nan=True)
    assert np.array_equal(stored.prefixed[1, 0], [np.nan, np.nan, -3], equal_nan=True)
    assert opened.read("logprobs/train/rephrasing").tolist() == [[-1, 2]]
    assert sum("lacks 1 of 2 examples" in w for w in summary.warnings) == 2
    assert validate(tmp_path / "s.zarr") == []


def test_scores_tell_their_runs(write: Write, tmp_path: Path) -> None:
    cell = {"German": {"values": [1.0, None], "judge": "j1"}, "Flattering": {"values": [2.0, 3.0], "judge": "j2"}}
    odd = {"type": "mix", "rephrasings_key": "q", "seed": 5, "steps": {"3": {"default": cell}}}
    summary = run_import(
        tmp_path / "s.zarr", prompts=write("p.json", PROMPTS), elicitation=write("e.json", elicitation()),
        scores=[write("s.json", scores(strange_name=odd))],
        losses=write("l.json", {"p": [{"step": 10, "loss": 1.5, "learning_rate": 1e-4}, {"step": 20, "loss": 1.0}]}),
    )  # fmt: skip
    assert summary.traits == [
        ScoreInfo("German", "positive", "german"), ScoreInfo("Flattering", "negative", "flattering"),
    ]  # fmt: skip
    opened = open_store(tmp_path / "s.zarr")
    assert [str(k) for k in opened.prompts["prompt"].values] == list(PROMPTS)
    table = opened.scores
    assert table is not None
    about = {
        str(r): (str(p), str(t), int(s), int(n))
        for r, p, t, s, n in zip(
            *(table[c].values for c in ("run", "run_prompt", "prefix_type", "seed", "nominal_step")), strict=True
        )
    }
    assert about == {
        "no_inoculation": ("", "none", -1, 12),
        "p": ("p", "fixed", -1, 12),
        "q_mix": ("q", "mix", -1, 12),
        "strange_name": ("q", "mix", 5, 3),
    }
    assert any("nominal final step 12" in note for note in summary.notes)
    assert table["judge"].sel(run="strange_name").values.tolist() == ["j1", "j2"]
    assert table["judge"].sel(run="p").values.tolist() == ["unknown", "unknown"]
    values = table["value"].sel(run="strange_name", step=3, condition="default", score="German").values
    assert np.array_equal(values, [1.0, np.nan], equal_nan=True)
    losses = opened.losses
    assert losses is not None
    assert losses["loss"].sel(run="p").values.tolist() == [1.5, 1.0]
    elicited = opened.elicitation
    assert elicited is not None
    assert elicited["prompt"].values.tolist() == ["p"]
    assert elicited["baseline"].sel(trait="German").values[:2].tolist() == [1.0, 11.0]
    assert validate(tmp_path / "s.zarr") == []


def test_the_user_can_say_baseline_traits_and_step(write: Write, tmp_path: Path) -> None:
    renamed = json.loads(json.dumps(PROMPTS).replace("german", "deutsch").replace("flattering", "praise"))
    entries = {"plain": elicitation()["neutral"], "p": elicitation()["p"]}
    summary = run_import(
        tmp_path / "s.zarr", prompts=write("p.json", renamed), elicitation=write("e.json", entries),
        scores=[write("s.json", scores())], traits=("positive=German:deutsch", "negative=Flattering"),
        baseline="plain", nominal_step=13,
    )  # fmt: skip
    assert summary.traits[1] == ScoreInfo("Flattering", "negative", "praise")
    opened = open_store(tmp_path / "s.zarr")
    assert opened.scores is not None
    assert set(opened.scores["nominal_step"].values) == {13}
    assert opened.elicitation is not None
    assert opened.elicitation["prompt"].values.tolist() == ["p"]


def test_without_a_baseline_elicitation_says_so(write: Write, tmp_path: Path) -> None:
    summary = run_import(
        tmp_path / "s.zarr", prompts=write("p.json", PROMPTS),
        elicitation=write("e.json", {"p": elicitation()["p"]}),
    )  # fmt: skip
    assert any("no baseline; --baseline names one" in w for w in summary.warnings)


def test_importing_twice_gives_the_same_bytes(write: Write, tmp_path: Path) -> None:
    file = write("a.json", means())
    stores = [tmp_path / "a" / "s.zarr", tmp_path / "b" / "s.zarr"]
    trees = []
    for store in stores:
        run_import(store, file)
        trees.append({str(p.relative_to(store)): p.read_bytes() for p in store.rglob("*") if p.is_file()})
    assert trees[0] == trees[1]


# what is wrong


def changed(path: str, value: object) -> dict[str, object]:
    """`means()` with the value at a dotted path replaced."""
    data = json.loads(json.dumps(means()))
    place = data
    *keys, last = path.split(".")
    for key in keys:
        place = place[key]
    place[last] = value
    return data


@pytest.mark.parametrize(
    ("path", "value", "pattern"),
    [
        ("prompts.p.lp_train_inoc", [-1.0, -2.0], r"prompts\.p\.lp_train_inoc has 2 values; 3 are needed"),
        ("prompts.q.lp_ctrl_inoc", [-1.0], r"prompts\.q\.lp_ctrl_inoc has 1 values; 2 are needed"),
        ("prompts.p.lp_train_mix", [-1.0, float("inf"), 0], r"prompts\.p\.lp_train_mix: index 1 is inf"),
        ("prompts.p.lp_train_mix", [-1.0, -1.0, float("-inf")], r"prompts\.p\.lp_train_mix: index 2 is -inf"),
        ("prompts.q.lp_train_inoc", [0.01, -1.0, -1.0], r"prompts\.q\.lp_train_inoc: index 0 is 0\.01, .*above 0"),
        ("baseline.lp_train_default", [-1.0, "x", -1.0], r"baseline\.lp_train_default: index 1 is text"),
        ("baseline.lp_train_default", [-1.0, True, -1.0], "index 1 is true/false"),
        ("baseline.lp_train_default", {"a": 1}, "a list is needed, not an object"),
        ("baseline", {}, "baseline has no log-probabilities"),
        ("prompts.p", 3, r"prompts\.p: a JSON object is needed"),
        ("prompts.p.prompt", 3, "text is needed"),
        ("prompts.p.lp_pos_inoc", [-1.0], "add lp_pos_default to the baseline"),
        ("baseline.control_completions", ["a"], "control_completions has 1 texts; 2 are needed"),
    ],
)
def test_bad_values_are_named(write: Write, tmp_path: Path, path: str, value: object, pattern: str) -> None:
    refused(tmp_path / "s.zarr", pattern, write("a.json", changed(path, value)))


def test_bad_token_lists_are_named(write: Write, tmp_path: Path) -> None:
    data = json.dumps(tokens())
    file = write("a.json", data.replace("[-2.0, -0.25, 0.0]", "[-2.0, -0.25]"))
    refused(tmp_path / "s.zarr", r"lp_train_inoc_tokens\[2\] has 2 token values; 3 are needed", file)
    file = write("a.json", data.replace("[-2.0, -0.25, 0.0]", "[-2.0, 0.25, 0.0]"))
    refused(tmp_path / "s.zarr", r"lp_train_inoc_tokens\[2\]: index 1 is 0.25", file)
    file = write("a.json", data.replace("[-0.5, -1.0], [], ", "[-0.5, -1.0], "))
    refused(tmp_path / "s.zarr", r"lp_train_inoc_tokens has 2 lists; 3 are needed", file)


def test_broken_files(write: Write, tmp_path: Path) -> None:
    store, whole = tmp_path / "s.zarr", json.dumps(means())
    refused(store, r"nope\.json does not exist", tmp_path / "nope.json")
    refused(store, r"truncated\?\), column \d+", write("a.json", whole[:200]))
    refused(store, "not JSON", write("a.json", whole.replace(":", ";", 1)))
    refused(store, r"truncated", write("a.json", ""))
    refused(store, "a JSON object is needed, not a list", write("a.json", [1]))
    refused(store, "no key 'baseline'", write("a.json", {"prompts": {}}))
    refused(store, "key 'p' comes twice", write("a.json", whole.replace('"q": {"prompt"', '"p": {"prompt"')))
    (tmp_path / "b.json").write_bytes(b'{"a": "\xff"}')
    refused(store, "not UTF-8", tmp_path / "b.json")
    refused(store, "is a directory", tmp_path)
    refused(store, "nothing to import")


def test_bad_jsonl_rows_are_named_by_line(write: Write, tmp_path: Path) -> None:
    def row(**changes: object) -> str:
        return json.dumps(
            {"prompt": "p", "prefix_type": "fixed", "example_id": "a", "token_ids": [1], "logprobs": [-1], **changes}
        )

    base = row(prefix_type="none")
    for text, pattern in (
        (f"{base}\n{row()[:-4]}", r"a\.jsonl, line 2: not JSON .it ends in the middle"),
        (f"{base}\n\n[1]", r"a\.jsonl, line 3: a JSON object is needed"),
        (
            f"{base}\n{row(token_ids=[2])}",
            r"a\.jsonl, line 2: token_ids of example 'a' differ from those at .*, line 1",
        ),
        (f"{base}\n{row(logprobs=[-1, -1])}", r"a\.jsonl, line 2: logprobs has 2 values; 1 are needed"),
        (f"{base}\n{row(logprobs=[0.5])}", r"a\.jsonl, line 2: logprobs: index 0 is 0\.5"),
        (f"{base}\n{row()}\n{row()}", r"a\.jsonl, line 3: a second row for prompt 'p'"),
        (f"{base}\n{row(prefix_type='both')}", r"a\.jsonl, line 2: prefix_type 'both'"),
        (f"{base}\n{row(prompt='')}", "has no prompt"),
        (row(), "no baseline rows"),
        ("", "has no rows"),
        ('{"prompt": "p"}', r"a\.jsonl, line 1: no key 'prefix_type'"),
    ):
        refused(tmp_path / "s.zarr", pattern, write("a.jsonl", text))


def test_bad_companions(write: Write, tmp_path: Path) -> None:
    store, file = tmp_path / "s.zarr", write("a.json", means())
    prompts = write("p.json", PROMPTS)

    def spoiled(name: str, value: Mapping[str, object], old: str, new: str) -> Path:
        text = json.dumps(value)
        assert old in text
        return write(name, text.replace(old, new))

    refused(store, "'p' has the text 'Be German.', elsewhere it is 'Be.'", file,
            prompts=spoiled("q.json", PROMPTS, "Be German.", "Be."))  # fmt: skip
    refused(store, "p.role is 'good'", prompts=spoiled("q.json", PROMPTS, '"positive"', '"good"'))
    refused(store, "both roles", prompts=spoiled("q.json", PROMPTS, '"flattering"', '"german"'))
    refused(store, "p: no key 'text'", prompts=write("q.json", {"p": {}}))
    e = elicitation()
    refused(store, r"unknown trait 'Playful' in the data \(known: German, flattering\).*--trait", prompts=prompts,
            elicitation=spoiled("e.json", e, "Flattering", "Playful"))  # fmt: skip
    refused(store, "unknown trait 'German' in the data .*--trait", elicitation=write("e.json", e))
    refused(store, r"p\.scores\.German\.values: index 0 is 150", prompts=prompts,
            elicitation=spoiled("e.json", e, "[50.0, 60.0", "[150.0, 60.0"))  # fmt: skip
    refused(store, "has 2 values; 3 are needed", prompts=prompts,
            elicitation=spoiled("e.json", e, "[50.0, 60.0, null]", "[50.0, 60.0]"))  # fmt: skip
    refused(store, "no entry 'plain'", prompts=prompts, elicitation=write("e.json", e), baseline="plain")
    s = scores()
    refused(store, r"steps: step: a whole number is needed, not 'last'", prompts=prompts,
            scores=[spoiled("s.json", s, '"13"', '"last"')])  # fmt: skip
    refused(store, r"no_inoculation\.type is 'both'", prompts=prompts,
            scores=[spoiled("s.json", s, '"type": "fixed"', '"type": "both"')])  # fmt: skip
    two = {"values": [1.0, 2.0], "judge": "a"}, {"values": [1.0, 2.0], "judge": "b"}
    mixed = {"r": {"user_prefix": "", "steps": {"1": {"default": {"German": two[0]}, "training": {"German": two[1]}}}}}
    refused(store, "import the scores of each judge", prompts=prompts, scores=[write("s.json", mixed)])
    refused(store, "run 'r' is not among the scored runs", file, losses=write("l.json", {"r": []}))
    refused(store, "no such folder", file, rephrasings=tmp_path / "none")
    write("pools/z.jsonl", '{"rephrasing": "a"}')
    refused(store, "no prompt has the key 'z'", file, rephrasings=tmp_path / "pools")
    write("pools/z.jsonl", '{"text": "a"}')
    refused(store, r"z\.jsonl, line 1: rephrasing: text is needed, not null", file, rephrasings=tmp_path / "pools")
    refused(store, "--trait 'good=x'", file, traits=("good=x",))
    refused(store, r"is in .*a\.json \(3 values\) and in .*b\.json", file, write("b.json", means()))


def test_an_existing_store_is_left_alone(write: Write, tmp_path: Path) -> None:
    store, file = tmp_path / "s.zarr", write("a.json", means())
    run_import(store, file)
    refused(store, "exists already.*--overwrite", file)
    (tmp_path / "mine").mkdir()
    with pytest.raises(BadInput, match="exists and is not an inoc store"):
        import_run(Sources((file,)), tmp_path / "mine", overwrite=True)
    import_run(Sources((write("b.json", tokens()),)), store, overwrite=True)
    assert open_store(store).levels() == ("token",)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.json", "mine", "s.zarr"]
    with pytest.raises(BadInput):
        import_run(Sources((write("c.json", changed("baseline", {})),)), store, overwrite=True)
    assert open_store(store).levels() == ("token",)


def test_what_a_killed_import_left_is_cleared(write: Write, tmp_path: Path) -> None:
    store, file = tmp_path / "s.zarr", write("a.json", means())
    (tmp_path / ".s.zarr.new" / "rubbish").mkdir(parents=True)
    run_import(store, file)
    store.rename(tmp_path / ".s.zarr.replaced")  # killed while replacing: the old store is all there is
    with pytest.raises(BadInput):
        import_run(Sources((write("c.json", changed("baseline", {})),)), store, overwrite=True)
    import_run(Sources((write("b.json", tokens()),)), store, overwrite=True)
    assert open_store(store).levels() == ("token",)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "b.json", "c.json", "s.zarr"]


# the reference data


@pytest.mark.reference
@pytest.mark.slow  # imports the reference logprobs once more
def test_reference_example_means(reference: Path, tmp_path: Path) -> None:
    home, store = reference / "german_flattering", tmp_path / "gf.zarr"
    result = CliRunner().invoke(
        import_,
        [str(home / "logprobs_by_example.json"), "--store", str(store), "--json",
         *(f"--{n}={home / n}.json" for n in ("prompts", "elicitation", "scores", "losses")),
         f"--rephrasings={home / 'rephrasings'}"],
        catch_exceptions=False,
    )  # fmt: skip
    summary = json.loads(result.stdout)
    assert (summary["prompts"], summary["scored_prompts"], summary["runs"]) == (59, 48, 15)
    assert summary["missing_values"]["elicitation"] == 12
    source = json.loads((home / "logprobs_by_example.json").read_text())
    opened = open_store(store)
    stored = opened.example_logprobs()
    assert list(stored.prompts) == list(source["prompts"])
    assert stored.default.tolist() == source["baseline"]["lp_train_default"]  # bit for bit
    for p, entry in enumerate(source["prompts"].values()):
        assert stored.prefixed[0, p].tolist() == entry["lp_train_inoc"]
        assert stored.prefixed[1, p].tolist() == entry["lp_train_mix"]
    scored = json.loads((home / "scores.json").read_text())
    table = opened.scores
    assert table is not None
    assert table.sizes == {"run": 15, "step": 3, "condition": 2, "score": 2, "question": 200}
    for name, entry in scored.items():
        for step, conditions in entry["steps"].items():
            for condition, cells in conditions.items():
                for trait, cell in cells.items():
                    got = table["value"].sel(run=name, step=int(step), condition=condition, score=trait).values
                    right = np.array([np.nan if v is None else v for v in cell["values"]])
                    assert np.array_equal(got, right, equal_nan=True)
    assert [t.name for t in opened.traits] == ["German", "Flattering"]
    assert all(len(pool) == 1000 for pool in opened.rephrasings.values())
    assert len(opened.rephrasings) == 48
    assert validate(store) == []


@pytest.mark.reference
def test_reference_token_lists(reference: Path, tmp_path: Path) -> None:
    file = reference / "token_logprobs" / "logprobs_by_token.json"
    run_import(tmp_path / "t.zarr", file)
    source = json.loads(file.read_text())
    stored = open_store(tmp_path / "t.zarr").token_logprobs()
    rows = source["baseline"]["lp_train_default_tokens"]
    assert stored.row_size.tolist() == [len(r) for r in rows]
    flat = np.array([v for r in rows for v in r], np.float32)
    assert np.array_equal(stored.default[:], flat)
    for p, entry in enumerate(source["prompts"].values()):
        flat = np.array([v for r in entry["lp_train_inoc_tokens"] for v in r], np.float32)
        assert np.array_equal(stored.prefixed[0, p], flat)
    assert validate(tmp_path / "t.zarr") == []


def test_sets_named_by_a_trait(write: Write, tmp_path: Path) -> None:
    data = means(baseline_german={"lp_default": [-4.0, -2.0], "completions": ["Ja.", "Nein."]}, baseline_dutch=[-1.0])
    data["prompts"]["p"] |= {"lp_german_inoc": [-1.0, -1.0], "lp_german_mix": [-2.0, -1.0], "lp_dutch_inoc": [-0.5]}
    data["baseline"] |= {"lp_flattering_default_tokens": [[-1.0], [-2.0, -3.0]]}
    data["prompts"]["q"] |= {"lp_flattering_inoc_tokens": [[-0.5], [-1.0, -1.0]]}
    summary = run_import(tmp_path / "s.zarr", write("a.json", data), prompts=write("p.json", PROMPTS))
    assert summary.ignored == []
    store = open_store(tmp_path / "s.zarr")
    assert set(store.completion_sets) == {"train", "control", "positive", "negative", "dutch"}
    found = store.example_logprobs("positive")
    np.testing.assert_array_equal(found.default[:], [-4.0, -2.0])
    mix = found.prefixed[list(found.prefix_types).index("mix"), list(found.prompts).index("p"), :]
    np.testing.assert_array_equal(mix, [-2.0, -1.0])
    data["baseline"] |= {"lp_pos_default": [-1.0]}
    refused(tmp_path / "t.zarr", "has the sets 'german' and 'positive'", write("a.json", data),
            prompts=write("p.json", PROMPTS))  # fmt: skip


def test_several_files_of_scores(write: Write, tmp_path: Path) -> None:
    prompts = write("p.json", PROMPTS)
    whole = scores()
    a = write("a.json", {name: whole[name] for name in ("no_inoculation", "p")})
    b = write("b.json", {"q_mix": whole["q_mix"]})
    run_import(tmp_path / "s.zarr", prompts=prompts, scores=[a, b])
    run_import(tmp_path / "one.zarr", prompts=prompts, scores=[write("s.json", whole)])
    two, one = open_store(tmp_path / "s.zarr").scores, open_store(tmp_path / "one.zarr").scores
    assert two is not None
    assert two.equals(one)
    refused(tmp_path / "t.zarr", r"run 'p' is in .*a\.json \(6 evaluations\) and in .*s\.json \(6 evaluations\)",
            prompts=prompts, scores=[a, write("s.json", {"p": whole["p"]})])  # fmt: skip
    short = json.loads(json.dumps(whole["q_mix"]).replace("[10.0, 30.0]", "[20.0]"))
    refused(tmp_path / "t.zarr", r"run 'q_mix' of .*c\.json has scores of 1 instructions, run 'no_inoculation' of "
            r".*a\.json of 2", prompts=prompts, scores=[a, write("c.json", {"q_mix": short})])  # fmt: skip


def test_files_that_disagree_are_both_named(write: Write, tmp_path: Path) -> None:
    a, b = write("a.json", means()), write("b.json", means())
    refused(tmp_path / "s.zarr", r"is in .*a\.json \(3 values\) and in .*b\.json \(3 values\)", a, b)
    other = {"baseline": {"lp_train_default_tokens": [[-1.0]]}, "prompts": {}}
    refused(tmp_path / "s.zarr", r"set 'train': .*a\.json has 3 and .*c\.json has 1", a, write("c.json", other))


@pytest.mark.parametrize("key", ["a\x1bb", "a\nb", "x" * 300])
def test_names_can_be_shown(write: Write, tmp_path: Path, key: str) -> None:
    refused(
        tmp_path / "s.zarr", "the prompt name", write("a.json", {**means(), "prompts": {key: means()["prompts"]["p"]}})
    )


@pytest.mark.parametrize("value", [-1e30, -1e39, -1e7])
def test_no_model_gives_such_a_number(write: Write, tmp_path: Path, value: float) -> None:
    file = write("a.json", changed("prompts.q.lp_train_inoc", [-1.0, value, -1.0]))
    refused(tmp_path / "s.zarr", "index 1 is -1e.*, which is below -1e", file)


def test_progress_is_told(write: Write, tmp_path: Path) -> None:
    said: list[str] = []

    class Progress:
        def begin(self, what: str, total: int) -> None:
            said.append(f"{what} {total}")

        def step(self, name: str) -> None:
            said.append(name)

    import_run(Sources((write("a.json", means()),)), tmp_path / "s.zarr", progress=Progress())
    assert said[:2] == ["read 1", str(tmp_path / "a.json")]
    assert said[2] == "write 8"
    assert len(said) == 11
