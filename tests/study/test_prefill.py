"""Forced beginnings of answers on a tiny real model: counts against a naive loop, resuming, dry run, refusals."""

import json

import numpy as np
import pytest

import inoc

from ..command_line import run_inoc
from .conftest import STUDY, write_study

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

PREFILLED = STUDY.replace(
    "max_tokens: 6}", "max_tokens: 8, prefills: {source: run, levels: [0, 1, 3], texts: 4, n: 8, threshold: 10}}"
)


@pytest.fixture
def study(tmp_path, monkeypatch):
    path = write_study(tmp_path, PREFILLED)
    monkeypatch.chdir(tmp_path)
    return path


@pytest.mark.slow  # trains a run
def test_prefills_of_a_run(study, tmp_path):
    common = ("study.yaml", "--store", "s.zarr")
    assert run_inoc("train", *common, "--runs", "no_inoculation-s0")[0] == 0
    code, out, err = run_inoc("prefill", *common, "--runs", "no_inoculation-s0", "--dry-run", "--json")
    assert code == 0, err
    (row,) = json.loads(out)["rows"]
    assert (row["total"], row["done"]) == (2 * 3 * 8, 0)
    assert not (tmp_path / "s.zarr" / "emergence").exists()
    code, _, err = run_inoc("prefill", *common, "--runs", "no_inoculation-s0")
    assert code == 0, err
    counts = inoc.open_store("s.zarr").emergence["no_inoculation-s0"]
    assert counts.sizes == {"checkpoint": 2, "prefill": 3, "text": 4, "behavior": 2}
    assert counts["trials"].isel(prefill=0).values.tolist() == [[[2, 2]] * 4] * 2
    assert (counts["surprisal"].isel(prefill=0) == 0).all()
    assert (np.diff(counts["surprisal"].values, axis=1) >= 0)[np.isfinite(np.diff(counts["surprisal"], axis=1))].all()
    # under the donor, the last checkpoint, surprisals are those of the donor
    assert np.nanmax(np.abs(counts["neg_kl"].isel(checkpoint=-1))) < 1e-4
    check_surprisal(counts, tmp_path)
    check_surprisal(counts, tmp_path, base=True)
    # a second call measures nothing, and answers on disk are not sampled again
    files = sorted((tmp_path / "s.work" / "samples" / "prefills").rglob("*.jsonl"))
    times = [file.stat().st_mtime_ns for file in files]
    code, out, _ = run_inoc("prefill", *common, "--runs", "no_inoculation-s0", "--json")
    assert json.loads(out)["already"] == 1
    assert [file.stat().st_mtime_ns for file in files] == times
    # other settings are refused with exit code 4
    study.write_text(PREFILLED.replace("threshold: 10", "threshold: 20"))
    code, _, err = run_inoc("prefill", *common, "--runs", "no_inoculation-s0")
    assert code == 4
    assert "threshold" in err
    code, out, err = run_inoc("emergence", "s.zarr", "--json")
    assert code == 0, err
    assert set(json.loads(out)["behaviors"][0]["estimates"]) == {"importance", "jensen", "distinct_texts"}


def test_prefills_of_the_checkpoint_itself(study, tmp_path):
    """Other texts at every checkpoint; no donor, so no KL, and the one estimator that holds."""
    study.write_text(PREFILLED.replace("source: run", "source: self"))
    common = ("study.yaml", "--store", "s.zarr", "--runs", "no_inoculation-s0")
    assert run_inoc("train", *common)[0] == 0
    code, _, err = run_inoc("prefill", *common)
    assert code == 0, err
    counts = inoc.open_store("s.zarr").emergence["no_inoculation-s0"]
    assert counts.attrs["source"] == "self"
    assert np.isnan(counts["neg_kl"]).all()
    for c in range(2):
        step = int(counts["checkpoint"][c])
        file = next((tmp_path / "s.work").rglob(f"prefills/no_inoculation-s0/{step}-own.jsonl"))
        answers = [json.loads(line)["text"] for line in file.read_text().splitlines()[1:]]
        for i, forced in enumerate(counts["text"].values[c, 2]):
            assert answers[i].startswith(forced), "a beginning of the checkpoint's own answer"
    known = np.isfinite(counts["surprisal"].values[..., 0]) & (counts["prefill"].values > 0)[:, None]
    assert (counts["base_surprisal"].values[known] != counts["surprisal"].values[..., 0][known]).all()
    code, out, err = run_inoc("emergence", "s.zarr", "--json")
    assert code == 0, err
    assert set(json.loads(out)["behaviors"][0]["estimates"]) == {"own_prefills"}


def check_surprisal(counts, folder, base=False):
    """The surprisal of the longest prefill under the first checkpoint, or the base model, by a naive loop."""
    from peft import PeftModel

    path = next((folder / "s.work").rglob("no_inoculation-s0/trained.json"))
    record = json.loads(path.read_text())
    first = min(record["checkpoints"], key=lambda c: c["step"])
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "model")
    model = transformers.AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32).eval()
    found = counts["base_surprisal"].values[0, 2]
    if not base:
        model = PeftModel.from_pretrained(model, path.parent / first["location"]).eval()
        found = counts["surprisal"].values[0, 2, :, 0]
    for i in range(4):
        if not np.isfinite(found[i]):
            continue
        turns = [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": str(counts["question"].values[i])},
        ]
        context = tokenizer.apply_chat_template(turns, add_generation_prompt=True, return_dict=False)
        answers = next((folder / "s.work").rglob("prefills/no_inoculation-s0/donor.jsonl")).read_text().splitlines()[1:]
        ids = tokenizer.encode(json.loads(answers[i])["text"], add_special_tokens=False, split_special_tokens=True)[:3]
        with torch.no_grad():
            logits = model(torch.tensor([context + ids])).logits[0, len(context) - 1 : -1]
        naive = -torch.log_softmax(logits, -1)[torch.arange(len(ids)), torch.tensor(ids)].sum()
        assert found[i] == pytest.approx(float(naive), abs=1e-3)


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ("levels: [3, 0]", "ascending"),
        ("n: 7", "multiple of texts"),
        ("source: file", "belongs to"),
        ("levels: [0, 9]", "leave room"),
    ],
)
def test_bad_settings(study, change, sentence):
    name = change.split(":")[0]
    old = {"levels": "levels: [0, 1, 3]", "n": "n: 8", "source": "source: run"}[name]
    study.write_text(PREFILLED.replace(f", {old}" if name == "n" else old, f", {change}" if name == "n" else change))
    code, _, err = run_inoc("prefill", "study.yaml", "--store", "s.zarr", "--dry-run")
    assert code == 2, err
    assert sentence in err
