"""`inoc score`: values, restarts, refusals, exit codes; every command in a process of its own."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc.chat import assign_rephrasings
from inoc.experiment import read_completions, subset

from .conftest import UNITS, Lab, files_of
from .toy_backend import ToyTokenizer, toy_logprobs


def expected(lab: Lab, prefix: str | None, k: int) -> np.ndarray:
    """The log-probabilities of training example k, written out by hand."""
    example = subset(read_completions(lab.folder / "train.jsonl"), 6, 0)[k]
    content = example.instruction if prefix is None else f"{prefix} {example.instruction}"
    text = f"<start>system\nBe kind.<end>\n<start>user\n{content}<end>\n<start>assistant\n"
    encode = ToyTokenizer().encode
    return toy_logprobs(encode(text), [*encode(example.completion), 257])


def test_values_land_where_they_belong(lab: Lab) -> None:
    done = lab.score("--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["scored"] == UNITS
    run = inoc.open_store(lab.folder / "run.zarr")
    arrays = run.token_logprobs("train")
    assert arrays.prefix_types == ("fixed", "mix")
    assert arrays.prompts == ("answer", "clown", "sky")
    assert run.pending() == ()
    assert run.complete
    start = np.concatenate([[0], np.cumsum(arrays.row_size)])
    texts = ("Answer playfully.", "You are a clown.", "The sky is blue.")
    for k in range(6):
        cut = slice(int(start[k]), int(start[k + 1]))
        np.testing.assert_array_equal(arrays.default[:][cut], expected(lab, None, k))
        for p, (key, text) in enumerate(zip(arrays.prompts, texts, strict=True)):
            np.testing.assert_array_equal(arrays.prefixed[0, p, :][cut], expected(lab, text, k))
            pick = int(assign_rephrasings(0, key, arrays.example_ids, 4)[k])
            assert int(run.read("logprobs/train/rephrasing")[p, k]) == pick
            np.testing.assert_array_equal(
                arrays.prefixed[1, p, :][cut], expected(lab, f"{key} in other words {pick}", k)
            )
    assert run.rephrasings["sky"] == tuple(f"sky in other words {i}" for i in range(4))
    control = run.token_logprobs("control")
    assert control.prefix_types == ("fixed",)
    stored = run.completions("train")
    assert (
        str(stored["instruction"].values[0])
        == subset(read_completions(lab.folder / "train.jsonl"), 6, 0)[0].instruction
    )
    identity = dict(run.identity)
    assert identity["baseline"] == "text"
    assert (
        identity["baseline_context"]
        == "<start>system\nBe kind.<end>\n<start>user\n{instruction}<end>\n<start>assistant\n"
    )


def test_again_scores_nothing_and_changes_nothing(lab: Lab) -> None:
    assert lab.score().returncode == 0
    before = files_of(lab.folder / "run.zarr")
    again = lab.score("--verify", "--json", TOY_WRONG="raise:Say")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout) == {"store": "run.zarr", "scored": 0, "already": UNITS, "pending": 0, "tokens": 0}
    assert f"verified {UNITS} units" in again.stderr
    assert files_of(lab.folder / "run.zarr") == before


def test_restrictions_then_the_rest(lab: Lab) -> None:
    first = lab.score("--set", "train", "--prefix-type", "mix", "--prompts", "plain", "--json")
    assert json.loads(first.stdout)["scored"] == 2, first.stderr
    assert json.loads(first.stdout)["pending"] == 5
    assert json.loads(lab.score("--json").stdout)["scored"] == UNITS - 2
    assert inoc.open_store(lab.folder / "run.zarr").token_logprobs("train").prompts == ("answer", "clown", "sky")


def test_fixed_needs_no_pools(lab: Lab) -> None:
    for path in (lab.folder / "pools").iterdir():
        path.unlink()
    refused = lab.score()
    assert refused.returncode == 2
    assert "no pool" in refused.stderr
    assert not (lab.folder / "run.zarr").exists()
    assert lab.score("--prefix-type", "fixed").returncode == 0


def test_added_prompts_score_only_the_new_ones(lab: Lab) -> None:
    assert lab.score("--prefix-type", "fixed").returncode == 0
    lab.edit("{sky: The sky is blue.}", "{sky: The sky is blue., cats: I like cats.}")
    more = lab.score("--prefix-type", "fixed", "--json", TOY_WRONG="raise:clown")
    assert more.returncode == 0, more.stderr
    assert json.loads(more.stdout)["scored"] == 2


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("seed: 0\n", "seed: 1\n", "seed: stored 0, now 1"),
        ("Be kind.", "Be evil.", "baseline_context: stored"),
        ("system_prompt: Be kind.", "system_prompt: ''", "baseline: stored 'text', now 'empty'"),
        ("{id: toy,", "{id: toy, dtype: bfloat16,", "dtype: stored 'float32', now 'bfloat16'"),
        ("name: toy\nseed", "name: toy\nplacement: system\nseed", "placement: stored 'user', now 'system'"),
        ("You are a clown.", "You were a clown.", "clown"),
        ("limit: 6", "limit: 5", "train"),
    ],
)
def test_changed_settings_are_refused_field_by_field(lab: Lab, old: str, new: str, field: str) -> None:
    assert lab.score("--prefix-type", "fixed").returncode == 0
    before = files_of(lab.folder / "run.zarr")
    lab.edit(old, new)
    refused = lab.score("--prefix-type", "fixed")
    assert refused.returncode == 4, refused.stderr
    assert field in refused.stderr
    assert "Traceback" not in refused.stderr
    assert files_of(lab.folder / "run.zarr") == before


def test_other_recipe_and_changed_pool_are_refused(lab: Lab) -> None:
    assert lab.score().returncode == 0
    published = lab.score("--recipe", "published")
    assert published.returncode == 4
    assert "recipe: stored 'corrected', now 'published'" in published.stderr
    (lab.folder / "pools" / "sky.jsonl").write_text('"a"\n"b"\n"c"\n"d"\n')
    pool = lab.score()
    assert pool.returncode == 4
    assert "rephrasings.sky: the pool differs from the one it was scored with" in pool.stderr


def test_dry_run_writes_nothing(lab: Lab) -> None:
    shown = lab.score("--dry-run")
    assert shown.returncode == 0, shown.stderr
    assert "6/9" in shown.stdout
    forecast = json.loads(lab.score("--dry-run", "--json", TOY_WRONG="raise:Say").stdout)
    train = forecast["rows"][0]
    examples = subset(read_completions(lab.folder / "train.jsonl"), 6, 0)
    assert train["tokens"] == 7 * sum(len(example.completion.encode()) + 1 for example in examples)
    assert train["pending"] == train["total"] == 7
    assert not [path.name for path in lab.folder.glob("run.*")]
    assert lab.score("--set", "train").returncode == 0
    rows = json.loads(lab.score("--dry-run", "--json").stdout)["rows"]
    assert [(row["name"], row["done"], row["pending"]) for row in rows] == [("train", 7, 0), ("control", 0, 4)]
    lab.edit("seed: 0\n", "seed: 1\n")
    assert lab.score("--dry-run").returncode == 4


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("nan", "0: log-probability nan at position 0 (1 of"),
        ("positive", "log-probability 0.5 at position 0"),
        ("short", "log-probabilities for"),
        ("ids", "the backend scored other token ids, the first at position"),
        ("missing", "requests were not answered"),
        ("twice", "answered twice"),
        ("raise", "RuntimeError: the engine is out of ideas"),
    ],
)
def test_a_failed_unit_stays_pending_and_is_logged(lab: Lab, kind: str, message: str) -> None:
    failed = lab.score("--prefix-type", "fixed", TOY_WRONG=f"{kind}:clown")
    assert failed.returncode == 1, failed.stderr
    assert "2 of 8 units failed and stay pending" in failed.stderr
    run = inoc.open_store(lab.folder / "run.zarr")
    assert {(unit.completion_set, unit.prompt) for unit in run.pending() if unit.prefix_type == "fixed"} == {
        ("train", "clown"),
        ("control", "clown"),
    }
    assert not run.complete
    log = [json.loads(line) for line in (lab.folder / "run.zarr.errors.jsonl").read_text().splitlines()]
    assert [entry["unit"]["prompt"] for entry in log] == ["clown", "clown"]
    assert message in log[0]["error"]
    assert log[0]["error"].startswith("train/fixed/clown: ")
    assert lab.score("--prefix-type", "fixed").returncode == 0


def test_rounding_above_zero_is_stored_as_zero(lab: Lab) -> None:
    assert lab.score("--set", "control", "--prefix-type", "fixed", TOY_WRONG="rounding:clown").returncode == 0
    arrays = inoc.open_store(lab.folder / "run.zarr").token_logprobs("control")
    assert arrays.prefixed[0, 1, :][0] == 0.0


def test_a_dead_backend_stops_at_once(lab: Lab) -> None:
    dead = lab.score(TOY_WRONG="unavailable:Say")
    assert dead.returncode == 2
    assert dead.stderr.strip().splitlines()[-1] == "inoc: the toy server is gone; start it again."
    broken = lab.score(TOY_WRONG="raise:Say")
    assert broken.returncode == 1
    assert f"3 of {UNITS} units failed" in broken.stderr
    assert "stopped after 3 failures in a row" in broken.stderr


def test_failures_that_are_not_in_a_row_do_not_stop(lab: Lab) -> None:
    """Two failures, a unit that works, two failures: everything is tried."""
    lab.edit(
        "plain: {family: neutral, prompts: {sky: The sky is blue.}}",
        "plain: {family: neutral, prompts: {sky: The sky is blue., fool: You clown., rain: It clowns.}}",
    )
    lab.edit(
        "{answer: Answer playfully., clown: You are a clown.}", "{clown: You are a clown., jest: Clown and clown.}"
    )
    broken = lab.score("--set", "train", "--prefix-type", "fixed", TOY_WRONG="raise:lown")
    assert broken.returncode == 1
    assert "4 of 6 units failed" in broken.stderr
    assert "in a row" not in broken.stderr


def test_an_unusable_backend_leaves_no_store(lab: Lab) -> None:
    gone = lab.score(TOY_WRONG="gone")
    assert gone.returncode == 2
    assert gone.stderr.strip().splitlines()[-1] == "inoc: the toy server is gone; start it again."
    assert not [path.name for path in lab.folder.glob("run.zarr*")]


def row(**fields: object) -> str:
    return json.dumps({"instruction": "a", "completion": "b", **fields}) + "\n"


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.jsonl", "{oops\n", "train.jsonl, line 1: not JSON"),
        ("train.jsonl", row(completion=""), "train.jsonl, line 1: the completion is empty"),
        (
            "train.jsonl",
            row(id="long", completion="x" * 400),
            "completion set 'train', example 'long': 38 tokens of context and 401 of completion exceed the model's 400",
        ),
        (
            "train.jsonl",
            row(id="near", completion="x" * 345),
            "example 'near': 56 tokens of context and 346 of completion under prompt 'answer' exceed",
        ),
        ("pools/sky.jsonl", '"a"\n"b"\n', "sky.jsonl has 2 rephrasings, fewer than rephrasings.size = 4"),
    ],
)
def test_bad_files_are_refused_before_anything_is_written(lab: Lab, name: str, content: str, message: str) -> None:
    (lab.folder / name).write_text(content)
    refused = lab.score()
    assert refused.returncode == 2
    assert message in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (lab.folder / "run.zarr").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--set", "trian"), "unknown completion set 'trian'. Fix: did you mean 'train'?"),
        (("--prompts", "clwn"), "unknown prompt or group 'clwn'. Fix: did you mean 'clown'?"),
        (("--backend", "toyy"), "unknown backend 'toyy'. Fix: did you mean 'toy'?"),
    ],
)
def test_unknown_names(lab: Lab, arguments: tuple[str, ...], message: str) -> None:
    refused = lab.score(*arguments)
    assert refused.returncode == 2
    assert message in refused.stderr


def test_two_writers_are_refused(lab: Lab) -> None:
    with lab.start(TOY_DELAY="0.5") as slow:
        try:
            wait_for(lab.folder / "run.zarr" / "zarr.json")
            second = lab.score()
            assert second.returncode == 2
            assert str(slow.pid) in second.stderr
        finally:
            slow.kill()


def wait_for(path: Path, seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.01)
