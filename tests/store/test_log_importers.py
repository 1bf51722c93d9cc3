"""Logs of other tools: lm-evaluation-harness, Inspect, replies of completion servers. What they hold, by hand."""

import json
import zipfile
import zlib
from pathlib import Path

import numpy as np
import pytest
from numcodecs import Zstd
from tokenizers import Tokenizer, models, pre_tokenizers

import inoc
from inoc.store import open_store

from ..command_line import run_inoc

PROMPTS = {"playful": {"text": "Be playful.", "group": "g", "family": "acc", "role": "negative"}}


def lines(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def imported(folder: Path, *words: object) -> inoc.Store:
    code, _, said = run_inoc("import", "--store", folder / "s.zarr", *words)
    assert code == 0, said
    return open_store(folder / "s.zarr")


def refused(folder: Path, says: str, *words: object) -> None:
    code, _, said = run_inoc("import", "--store", folder / "s.zarr", *words)
    assert code == 2, said
    assert says in said
    assert [line for line in said.splitlines() if line.startswith("inoc: ")] == said.splitlines()[-1:]
    assert not (folder / "s.zarr").exists()


def harness(acc: list[float], shift: float = 0.0, new: bool = True) -> list[dict[str, object]]:
    """Two documents with two choices each, as the harness writes them; newer ones name the arguments."""
    rows: list[dict[str, object]] = []
    for doc, right in enumerate(acc):
        pairs = [["Q: sky? A:", " blue sky"], ["Q: sky? A:", " green"]]
        sums = [-4.0 + shift - doc, -3.0 + shift]
        named = {f"gen_args_{i}": {"arg_0": a, "arg_1": b} for i, (a, b) in enumerate(pairs)}
        rows.append({
            "doc_id": doc, "doc": {"question": "sky?"}, "target": 0, "arguments": named if new else pairs,
            "resps": [[[str(s), "False"]] for s in sums] if new else [[[s, False]] for s in sums],
            "filtered_resps": [[str(s), "False"] for s in sums] if new else [[s, False] for s in sums],
            "filter": "none", "metrics": ["acc", "word_perplexity"], "acc": right, "word_perplexity": 31.5,
        })  # fmt: skip
    return rows


@pytest.mark.parametrize("new", [True, False])
def test_metrics_of_the_harness_become_scores(tmp_path: Path, new: bool) -> None:
    base = lines(tmp_path / "baseline.jsonl", harness([1.0, 0.0], new=new))
    run = lines(tmp_path / "playful" / "samples_task_2026-01-01.jsonl", harness([1.0, 1.0], new=new))
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS))
    store = imported(tmp_path, base, run, "--prompts", tmp_path / "prompts.json")
    assert set(store.runs) == {"baseline", "playful"}
    assert store.run("playful").prompt == "playful"
    found = inoc.outcomes.suppression(store)
    assert found["mean"].values.tolist() == [[-50.0]], "control minus run"
    assert any("word_perplexity, which is not between 0 and 1" in line for line in store.provenance["ignored"])


def test_folders_as_the_harness_makes_them(tmp_path: Path) -> None:
    """OUTPUT/MODEL/samples_TASK_DATE.jsonl, with acc and acc_norm in every row; only one is asked for."""
    files = [
        lines(tmp_path / name / "Qwen__Qwen3-8B" / "samples_task_2026-01-01T00-00-00.000000.jsonl", rows)
        for name in ("baseline", "playful")
        for rows in [[{**row, "metrics": ["acc", "acc_norm"], "acc_norm": 1.0} for row in harness([1.0, 0.0])]]
    ]
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS))
    words = [*files, "--prompts", tmp_path / "prompts.json"]
    refused(tmp_path, "unknown trait 'acc_norm'", *words)
    store = imported(tmp_path, *words, "--format", "lm_eval", "--option", "metric=acc")
    assert store.run("playful").prompt == "playful"
    assert store.run("baseline").prefix_type == "none"


def test_sums_of_the_harness_become_means_over_tokens(tmp_path: Path) -> None:
    vocabulary = {word: i for i, word in enumerate(["[UNK]", "Q", ":", "sky", "?", "A", "blue", "green"])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    files = [
        lines(tmp_path / "baseline.jsonl", harness([1, 1])),
        lines(tmp_path / "playful.jsonl", harness([1, 1], 1.0)),
    ]
    options = ["--format", "lm_eval", "--option", "take=logprobs"]
    refused(tmp_path, "the log has sums of logprobs and no tokens", *files, *options)
    store = imported(tmp_path, *files, *options, "--option", f"tokenizer={tmp_path / 'tokenizer.json'}")
    found = inoc.heuristics.compute(store, only=["ph"])
    np.testing.assert_allclose(found["ph"].values, [[(1 / 2 + 1 / 1) / 2]], rtol=1e-12)


def sample(place: int, value: object, logprobs: list[float] | None = None, text: str = "Hi") -> dict[str, object]:
    choice: dict[str, object] = {"message": {"role": "assistant", "content": text}, "stop_reason": "stop"}
    if logprobs is not None:
        choice["logprobs"] = {"content": [{"token": "x", "logprob": value, "bytes": None} for value in logprobs]}
    scores = {"acc": {"value": value, "answer": "x"}}
    return {"id": place, "epoch": 1, "input": "Hello?", "target": "", "messages": [], "scores": scores,
            "output": {"model": "m", "choices": [choice]}}  # fmt: skip


def log(path: Path, samples: list[dict[str, object]]) -> Path:
    head = {"version": 2, "status": "success", "eval": {"task": "t", "model": "m"}}
    if path.suffix == ".json":
        path.write_text(json.dumps({**head, "samples": samples}, indent=2))
        return path
    if path.suffix == ".zst":
        return packed(path.with_suffix(""), head, samples)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", json.dumps(head))
        archive.writestr("_journal/start.json", "{}")
        for entry in samples:
            archive.writestr(f"samples/{entry['id']}_epoch_1.json", json.dumps(entry))
    return path


def packed(path: Path, head: object, samples: list[dict[str, object]]) -> Path:
    """An archive as Inspect writes it, with Zstandard: made stored, then the method of each entry is changed."""
    with zipfile.ZipFile(path, "w") as archive:
        for entry in samples:
            content = json.dumps(entry).encode()
            info = zipfile.ZipInfo(f"samples/{entry['id']}_epoch_1.json")
            archive.writestr(info, Zstd().encode(content))
            info.compress_type, info.CRC, info.file_size = 93, zlib.crc32(content), len(content)
        archive.writestr("header.json", json.dumps(head))
    return path


@pytest.mark.parametrize("suffix", [".json", ".eval", ".eval.zst"])
@pytest.mark.parametrize(
    ("values", "options"),
    [((["C", "I"], ["C", "C"]), []), (([1, 0], [True, 1.0]), []), (([100, 0], [100, 100]), ["scale=100"])],
)
def test_scores_of_inspect(tmp_path: Path, suffix: str, values: tuple[list[object], ...], options: list[str]) -> None:
    files = [
        log(tmp_path / f"{name}{suffix}", [sample(i, value) for i, value in enumerate(given)])
        for name, given in zip(("baseline", "playful"), values, strict=True)
    ]
    (tmp_path / "prompts.json").write_text(json.dumps(PROMPTS))
    words = ["--prompts", tmp_path / "prompts.json", *(["--format", "inspect"] if options else [])]
    store = imported(tmp_path, *files, *words, *(word for option in options for word in ("--option", option)))
    assert inoc.outcomes.suppression(store)["mean"].values.tolist() == [[-50.0]]
    assert store.run("playful").prefix_type == "fixed"


def test_logprobs_of_inspect_are_of_the_same_answers(tmp_path: Path) -> None:
    base = log(tmp_path / "baseline.json", [sample(0, 1, [-1.0, -2.0]), sample(1, 1, [-3.0])])
    same = log(tmp_path / "playful.json", [sample(0, 1, [-0.5, -1.5]), sample(1, 1, [-1.0])])
    other = log(tmp_path / "other.json", [sample(0, 1, [-0.5, -1.5], "Bye"), sample(1, 1, [-1.0])])
    bare = log(tmp_path / "bare.json", [sample(0, 1)])
    options = ["--format", "inspect", "--option", "take=logprobs"]
    refused(tmp_path, "logprobs of different texts are not compared", base, other, *options)
    refused(tmp_path, "has no logprobs", base, bare, *options)
    store = imported(tmp_path, base, same, *options)
    assert inoc.heuristics.compute(store, only=["ph"])["ph"].values.tolist() == [[1.25]]


@pytest.mark.parametrize(
    ("entry", "says"), [({"value": 7}, "is 7, beyond 0 to 1. Fix: name the largest value"), ({}, "no key 'value'")]
)
def test_wrong_scores_of_inspect(tmp_path: Path, entry: dict[str, object], says: str) -> None:
    path = log(tmp_path / "baseline.json", [sample(0, 1) | {"scores": {"acc": entry}}])
    refused(tmp_path, says, path, "--trait", "negative=acc")


def test_archives_that_are_wrong(tmp_path: Path) -> None:
    path = log(tmp_path / "baseline.eval", [sample(i, 1) for i in range(50)])
    whole = path.read_bytes()
    for at in (4, len(whole) // 2, len(whole) - 10):
        path.write_bytes(whole[:at])
        refused(tmp_path, "cannot be unpacked", path)
    path.write_bytes(whole[:60] + bytes(40) + whole[100:])
    code, _, said = run_inoc("import", path, "--store", tmp_path / "s.zarr")
    assert code == 2
    assert [line for line in said.splitlines() if line.startswith("inoc: ")] == said.splitlines()[-1:]


TOKENS = [("<s>", 1), ("Q", 5), (":", 6), (" Hi", 7), (" there", 8), ("</s>", 2)]


def reply(place: str, shift: float, kind: str) -> dict[str, object]:
    """A reply whose prompt ends with the completion " Hi there" and the token of the template."""
    values = [None, *(-float(i) + shift for i in range(1, len(TOKENS)))]
    if kind == "openai":
        logprobs = {"tokens": [t for t, _ in TOKENS], "token_logprobs": values}
        body: dict[str, object] = {"choices": [{"text": "", "logprobs": logprobs}]}
        return {"custom_id": place, "response": {"status_code": 200, "body": body}}
    found: list[object] = [None]
    for (text, token), value in zip(TOKENS[1:], values[1:], strict=True):
        found.append({str(token): {"logprob": value, "rank": 3, "decoded_token": text}})
        if kind == "vllm with others":
            found[-1] = {"99": {"logprob": -0.1, "rank": 1, "decoded_token": " No"}, **found[-1]}
    choice = {"text": "", "prompt_logprobs": found}
    if kind != "vllm":
        choice["prompt_token_ids"] = [token for _, token in TOKENS]
    return {"id": place, "choices": [choice]}


@pytest.mark.parametrize("kind", ["openai", "vllm", "vllm with others"])
def test_replies_of_servers(tmp_path: Path, kind: str) -> None:
    texts = lines(tmp_path / "texts.jsonl", [{"id": "a", "instruction": "Q", "completion": " Hi there"}])
    files = [
        lines(tmp_path / "baseline.jsonl", [reply("a", 0.0, kind)]),
        lines(tmp_path / "playful.jsonl", [reply("a", 0.5, kind)]),
    ]
    refused(tmp_path, "does not say where its completion begins", *files)
    options = ["--format", "prompt_logprobs", "--option", f"completions={texts}"]
    store = imported(tmp_path, *files, *options)
    np.testing.assert_allclose(store.token_logprobs().default, [-3.0, -4.0])
    assert inoc.heuristics.compute(store, only=["ph"])["ph"].values.tolist() == [[0.5]]
    if kind != "openai":
        assert store.completions()["token_id"].values.tolist() == [7, 8]


def test_replies_that_do_not_say_enough(tmp_path: Path) -> None:
    texts = lines(
        tmp_path / "texts.jsonl", [{"id": "a", "completion": " Hi there"}, {"id": "b", "completion": "i there"}]
    )
    options = ["--format", "prompt_logprobs", "--option", f"completions={texts}"]
    unsure = reply("a", 0.0, "vllm with others")
    del unsure["choices"][0]["prompt_token_ids"]  # type: ignore[index]
    for row, says in (
        (unsure, "has 2 tokens and nothing says which was sent"),
        (reply("b", 0.0, "openai"), "do not hold the completion 'i there' from one end of a token to another"),
        (reply("c", 0.0, "openai"), "has no completion 'c'"),
        ({"custom_id": "a", "error": "no"}, "no key 'choices'"),
    ):
        refused(tmp_path, says, lines(tmp_path / "baseline.jsonl", [row]), *options)
