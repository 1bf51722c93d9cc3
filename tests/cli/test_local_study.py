"""A study on a tiny real model with the local backend: values against a naive loop, and what it refuses."""

import io
import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest

import inoc
from inoc.cli import main

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

STUDY = """\
name: tiny
model: {id: tiny, system_prompt: Be kind.}
backend: {name: local, options: {device: cpu}}
traits:
  positive: {name: French, family: french}
  negative: {name: Playful, family: playful}
prompts:
  strong: {family: playful, prompts: {answer: Answer playfully.}}
completion_sets:
  train: {path: train.jsonl}
"""
ROWS = [("How are you?", "Bien, merci !"), ("Why?", "Parce que <|im_end|> est du texte."), ("Where to?", "Là")]


def run(folder: Path, *arguments: str) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["inoc", *arguments])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), out.getvalue(), err.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    from inoc.testing.tiny_models import tiny_model

    tiny_model(tmp_path / "tiny")
    (tmp_path / "study.yaml").write_text(STUDY)
    rows = [{"instruction": a, "completion": b} for a, b in ROWS]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path


def test_stored_values_equal_a_naive_loop(folder: Path) -> None:
    code, _, err = run(folder, "score", "study.yaml", "--store", "run.zarr", "--verify")
    assert code == 0, err
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "tiny")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "tiny")
    arrays = inoc.open_store(folder / "run.zarr").token_logprobs("train")
    start = np.concatenate([[0], np.cumsum(arrays.row_size)])
    for k, (instruction, completion) in enumerate(ROWS):
        text = tokenizer.encode(completion, add_special_tokens=False, split_special_tokens=True)
        ids = [*text, tokenizer.convert_tokens_to_ids("<|im_end|>")]
        for prefix, stored in ((None, arrays.default[:]), ("Answer playfully.", arrays.prefixed[0, 0, :])):
            turns = [
                {"role": "system", "content": "Be kind."},
                {"role": "user", "content": instruction if prefix is None else f"{prefix} {instruction}"},
            ]
            context = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
            with torch.no_grad():
                logits = model(torch.tensor([context + ids])).logits[0, len(context) - 1 : -1]
            naive = torch.log_softmax(logits, -1)[torch.arange(len(ids)), torch.tensor(ids)].numpy()
            np.testing.assert_allclose(stored[start[k] : start[k + 1]], naive, atol=1e-5, rtol=0)


def test_doctor_compares_with_a_naive_loop(folder: Path) -> None:
    code, out, err = run(folder, "doctor", "study.yaml", "--json")
    assert code == 0, err
    document = json.loads(out)
    assert document["ok"] is True
    assert document["reference"] == "a naive loop over transformers"
    assert 0 <= document["difference"] < 1e-5
    assert 0 <= document["one_by_one"] < 1e-5


def refused(folder: Path, *arguments: str) -> str:
    code, out, err = run(folder, "score", "study.yaml", "--store", "run.zarr", *arguments)
    assert code == 2, out + err
    assert not (folder / "run.zarr").exists()
    return err


def edit(folder: Path, old: str, new: str) -> None:
    text = (folder / "study.yaml").read_text()
    assert old in text
    (folder / "study.yaml").write_text(text.replace(old, new))


def test_unknown_model_path(folder: Path) -> None:
    edit(folder, "id: tiny", "id: ./nowhere")
    assert "./nowhere" in refused(folder)


def test_tokenizer_without_chat_template(folder: Path) -> None:
    for path in (folder / "tiny").glob("chat_template*"):
        path.unlink()
    settings = folder / "tiny" / "tokenizer_config.json"
    document = json.loads(settings.read_text())
    document.pop("chat_template", None)
    settings.write_text(json.dumps(document))
    assert "no chat template" in refused(folder)


def test_cuda_asked_for_and_absent(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    edit(folder, "device: cpu", "device: cuda")
    assert "cuda" in refused(folder)


def test_completion_longer_than_the_context(folder: Path) -> None:
    (folder / "train.jsonl").write_text(json.dumps({"instruction": "a", "completion": "x" * 600, "id": "big"}) + "\n")
    message = refused(folder)
    assert "completion set 'train', example 'big'" in message
    assert "exceed the model's 512" in message


def test_unknown_backend_option(folder: Path) -> None:
    edit(folder, "device: cpu", "devise: cpu")
    assert "devise" in refused(folder)


def test_a_set_to_be_generated_is_sampled_first_and_then_scored(folder: Path) -> None:
    edit(
        folder,
        "  train: {path: train.jsonl}\n",
        "  train: {path: train.jsonl}\n  control: {generate: {n: 2, max_tokens: 12}}\n",
    )
    code, out, err = run(folder, "score", "study.yaml", "--store", "run.zarr", "--dry-run", "--json")
    assert code == 0, err
    forecast = json.loads(out)
    assert [row["name"] for row in forecast["rows"]] == ["train"]
    assert forecast["notes"] == ["control is made by `inoc generate` first and is not counted"]
    code, _, err = run(folder, "score", "study.yaml", "--store", "run.zarr")
    assert code == 0, err
    rows = [json.loads(line) for line in (folder / "generated" / "tiny" / "control.jsonl").read_text().splitlines()]
    store = inoc.open_store(folder / "run.zarr")
    assert list(store.completions("control")["completion"].values) == [row["completion"] for row in rows]
    ends = [row["finish"] == "stop" for row in rows]
    ids = np.split(
        store.read("completions/control/token_id"), np.cumsum(store.read("completions/control/row_size"))[:-1]
    )
    assert [int(row[-1]) == 257 for row in ids] == ends  # cut at the length limit: no end token
