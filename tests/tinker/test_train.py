"""Training through the contract server against a hand-written PEFT loop, and what a kill of the client costs."""

import json
import logging
import math
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import peft
import pytest
import torch
from contract import SERVICE, UPDATES, Trained, make_job, steps_of
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from inoc.backends.local import LocalBackend
from inoc.backends.local import train as local_train
from inoc.backends.protocols import (
    AdapterSettings,
    Checkpoint,
    ModelSpec,
    SampleRequest,
    ScoreRequest,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.backends.tinker import TinkerBackend
from inoc.backends.training import learning_rate
from inoc.errors import BackendRejected, BadInput, OtherSettings
from inoc.values import Sampling


def reference_losses(model: Path, job: TrainingJob) -> list[float]:
    """The same training by hand: PEFT, torch's AdamW, the mean over the weighted tokens of a batch."""
    base = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    config = peft.LoraConfig(r=4, lora_alpha=32, target_modules=list(SERVICE.targets), lora_dropout=0.0)
    torch.manual_seed(job.seed)
    adapted = peft.get_peft_model(base, config)
    weights = [weight for weight in adapted.parameters() if weight.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=0.0, weight_decay=job.weight_decay)
    losses = []
    for number, batch in enumerate(job.batches):
        nlls = []
        for example in (job.examples[i] for i in batch):
            ids = torch.tensor([example.token_ids])
            labels = torch.where(torch.tensor([example.weights]) > 0, ids, -100)
            logits = adapted(ids).logits[0, :-1]
            nlls.append(torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="none"))
        count = sum(sum(job.examples[i].weights) for i in batch)
        loss = torch.cat(nlls).sum() / count
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, job.max_grad_norm)
        ramp = number / 2 if number < 2 else (UPDATES - number) / (UPDATES - 2)
        for group in optimizer.param_groups:
            group["lr"] = job.learning_rate * ramp
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def test_losses_are_those_of_a_hand_written_loop(trained: Trained, models: dict[str, Path]) -> None:
    np.testing.assert_allclose(trained.losses, reference_losses(models["tiny"], trained.job), atol=1e-4)
    assert trained.losses[-1] < trained.losses[0] - 0.05
    steps = steps_of(trained.events)
    assert [step.step for step in steps] == list(range(1, UPDATES + 1))
    assert all(math.isnan(step.grad_norm) for step in steps), "the server says no gradient norm"


def test_schedule_is_the_local_backends(trained: Trained) -> None:
    expected = [local_train.learning_rate(trained.job, number) for number in range(UPDATES)]
    assert [learning_rate(trained.job, number) for number in range(UPDATES)] == expected
    assert [step.learning_rate for step in steps_of(trained.events)] == expected


def test_checkpoints_score_like_their_download_in_the_local_backend(
    backend: TinkerBackend, trained: Trained, models: dict[str, Path], tmp_path: Path
) -> None:
    assert sorted(trained.checkpoints) == [3, UPDATES]
    local = LocalBackend.from_spec(ModelSpec(str(models["tiny"])))
    contexts = [tuple(range(20 + i, 60 + 3 * i)) for i in range(4)]
    completions = [tuple((7 * i + j) % 250 for j in range(5 + i)) for i in range(4)]
    places: list[Checkpoint | None] = [None]
    for step, checkpoint in trained.checkpoints.items():
        places.append(backend.download(checkpoint, tmp_path / f"adapter-{step}"))
    found = []
    for remote, place in zip([None, *trained.checkpoints.values()], places, strict=True):
        ask = [ScoreRequest(str(i), contexts[i], completions[i]) for i in range(4)]
        here = {r.id: r.logprobs for r in local.score([replace(r, checkpoint=place) for r in ask])}
        there = {r.id: r.logprobs for r in backend.score([replace(r, checkpoint=remote) for r in ask])}
        for id in here:
            np.testing.assert_allclose(there[id], here[id], atol=5e-5, rtol=0)
        found.append(np.concatenate([there[str(i)] for i in range(4)]))
    assert np.abs(found[0] - found[1]).max() > 0.01, "the adapter changes the model"
    assert np.abs(found[1] - found[2]).max() > 0.01, "the checkpoints differ"
    manifest = json.loads((tmp_path / "adapter-3" / "manifest.json").read_text())
    assert manifest["adapter"]["alpha"] == 32
    assert manifest["source"] == trained.checkpoints[3].location
    with pytest.raises(BadInput, match="exists already"):
        backend.download(trained.checkpoints[3], tmp_path / "adapter-3")


def test_samples_come_from_the_checkpoint(backend: TinkerBackend, trained: Trained) -> None:
    request = SampleRequest("r", tuple(range(30, 50)), trained.checkpoints[UPDATES])
    sampling = Sampling(max_tokens=8)
    (sample,) = backend.sample([request], sampling)
    assert sample.logprobs is not None
    score = ScoreRequest("r", request.context, sample.token_ids, request.checkpoint)
    (scored,) = backend.score([score])
    np.testing.assert_allclose(sample.logprobs, scored.logprobs, atol=1e-5)


def test_finished_training_is_not_trained_again(backend: TinkerBackend, trained: Trained, server) -> None:
    before = server.calls("forward_backward")
    assert [repr(e) for e in backend.train(trained.job)] == [repr(e) for e in trained.events]
    assert server.calls("forward_backward") == before


def test_changed_job_is_refused(backend: TinkerBackend, trained: Trained) -> None:
    with pytest.raises(OtherSettings, match=r"different learning_rate\."):
        list(backend.train(replace(trained.job, learning_rate=1e-3)))
    with pytest.raises(OtherSettings, match=r"different batches\."):
        list(backend.train(replace(trained.job, batches=trained.job.batches[::-1])))


def test_adapter_is_what_the_service_does(
    backend: TinkerBackend, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    asked = AdapterSettings(rank=4, alpha=8.0, rslora=True, targets=("q_proj", "v_proj"))
    job = make_job(tmp_path, adapter=asked, batches=((0, 1),), checkpoint_steps=())
    with caplog.at_level(logging.WARNING, "inoc.backends.tinker"):
        events = list(backend.train(job))
    used = AdapterSettings("lora", 4, 32.0, False, 0.0, ("q_proj", "k_proj", "v_proj", "o_proj"))
    assert isinstance(events[-1], Checkpoint)
    assert events[-1].adapter == used
    differs = json.loads((tmp_path / "tinker.json").read_text())["differs"]
    for text in ("alpha: 8.0 -> 32.0", "rslora: True -> False", "scale of the update: 4 -> 8"):
        assert text in differs
        assert text in caplog.text
    caplog.clear()
    with caplog.at_level(logging.WARNING, "inoc.backends.tinker"):
        list(backend.train(make_job(tmp_path / "same", batches=((0, 1),), checkpoint_steps=())))
    assert not caplog.text, "settings that are the service's own differs in nothing"
    with pytest.raises(BackendRejected, match="full fine-tuning"):
        list(backend.train(replace(job, adapter=replace(asked, kind="full"))))
    with pytest.raises(BackendRejected, match="targets embed_tokens"):
        list(backend.train(replace(job, adapter=replace(asked, targets=("embed_tokens",)))))


def test_continued_training_starts_from_the_other_ones_weights(
    backend: TinkerBackend, trained: Trained, tmp_path: Path
) -> None:
    start = trained.checkpoints[UPDATES]
    job = make_job(tmp_path, start=start, batches=trained.job.batches[:1], checkpoint_steps=(), warmup=0)
    (step, end) = backend.train(job)
    assert isinstance(step, TrainingStep)
    request = [
        ScoreRequest(e.id, e.token_ids[:3], e.token_ids[3:], start) for e in (job.examples[i] for i in job.batches[0])
    ]
    scored = np.concatenate([result.logprobs for result in backend.score(request)])
    assert step.loss == pytest.approx(-scored.mean(), abs=1e-5)
    assert isinstance(end, Checkpoint)
    assert end.location != start.location
    other = replace(start, adapter=replace(SERVICE, rank=8))
    with pytest.raises(BadInput, match="other adapter settings"):
        list(backend.train(replace(job, start=other, directory=str(tmp_path / "b"))))
    other = replace(start, location="/some/folder")
    with pytest.raises(BadInput, match="is not a checkpoint that inoc saved"):
        list(backend.train(replace(job, start=other, directory=str(tmp_path / "c"))))


@pytest.mark.slow
def test_batch_larger_than_one_request(backend: TinkerBackend, tmp_path: Path) -> None:
    """The SDK cuts more than 1024 examples into several requests and sends the first one last."""
    examples = tuple(TrainingExample(f"e{i}", (i % 250, 7, i % 9), (0.0, 1.0, 1.0)) for i in range(1100))
    batches = (tuple(range(1100)),) * 2
    job = make_job(tmp_path, examples=examples, batches=batches, checkpoint_steps=(), warmup=0)
    first, second, _ = backend.train(job)
    scored = backend.score([ScoreRequest(e.id, e.token_ids[:1], e.token_ids[1:]) for e in examples])
    assert isinstance(first, TrainingStep)
    assert isinstance(second, TrainingStep)
    assert first.loss == pytest.approx(-np.concatenate([r.logprobs for r in scored]).mean(), abs=1e-4)
    assert second.loss < first.loss


CLIENT = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from contract import make_job
from inoc.backends.protocols import ModelSpec, TrainingStep
from inoc.backends.tinker import TinkerBackend
options = {"url": sys.argv[3], "served_name": "tiny"}
backend = TinkerBackend.from_spec(ModelSpec(sys.argv[2], options=options))
for event in backend.train(make_job(Path(sys.argv[4]))):
    if isinstance(event, TrainingStep) and event.step == 5:
        print("five", flush=True)
        time.sleep(600)
"""


def test_killed_client_goes_on_where_the_last_state_was(
    backend: TinkerBackend, server, trained: Trained, models: dict[str, Path], tmp_path: Path
) -> None:
    directory = tmp_path / "run"
    command = [sys.executable, "-c", CLIENT, str(Path(__file__).parent), str(models["tiny"]), server.url]
    process = subprocess.Popen(
        [*command, str(directory)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=os.environ, text=True
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    process.send_signal(signal.SIGKILL)
    process.wait()
    said = process.stderr.read()
    process.stdout.close()
    process.stderr.close()
    assert line == "five\n", said
    before = server.calls("forward_backward")
    events = list(backend.train(make_job(directory)))
    assert server.calls("forward_backward") - before == 2, "the state is that of update 4"
    np.testing.assert_allclose([s.loss for s in steps_of(events)], trained.losses, atol=1e-6)
    assert sorted(e.step for e in events if isinstance(e, Checkpoint)) == [3, UPDATES]
    adapters = []
    for checkpoint in (events[-1], trained.checkpoints[UPDATES]):
        assert isinstance(checkpoint, Checkpoint)
        assert checkpoint.location is not None
        folder = server.root / checkpoint.location.removeprefix("tinker://")
        adapters.append(load_file(folder / "adapter_model.safetensors"))
    for name, weight in adapters[0].items():
        torch.testing.assert_close(weight, adapters[1][name], atol=1e-6, rtol=0)
