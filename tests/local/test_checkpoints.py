"""What a training leaves: adapters that plain PEFT loads, whole models, continued trainings."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import AdapterSettings, Checkpoint, SampleRequest, ScoreRequest, TrainingStep
from inoc.errors import BadInput
from inoc.values import Sampling

from .jobs import ADAPTER, REQUESTS, losses, make_job, short_job


@pytest.fixture(scope="module")
def trained(
    local, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[LocalBackend, Checkpoint]:
    backend = local(models["qwen2"])
    events = list(backend.train(make_job(tmp_path_factory.mktemp("trained"))))
    assert isinstance(events[-1], Checkpoint)
    return backend, events[-1]


def test_adapter_scores_as_plain_peft_does(trained: tuple[LocalBackend, Checkpoint], models: dict[str, Path]) -> None:
    import peft
    import torch
    import transformers

    backend, checkpoint = trained
    base = transformers.AutoModelForCausalLM.from_pretrained(models["qwen2"])
    model = peft.PeftModel.from_pretrained(base, checkpoint.location).eval()
    assert model.peft_config["default"].use_rslora
    requests = [replace(request, checkpoint=checkpoint) for request in REQUESTS]
    results = {result.id: result.logprobs for result in backend.score(requests)}
    for request in requests:
        with torch.no_grad():
            logits = model(torch.tensor([request.context + request.completion])).logits[0]
        expected = logits.log_softmax(-1)[2:-1][range(4), list(request.completion)].numpy()
        np.testing.assert_allclose(results[request.id], expected, atol=1e-5, rtol=0)


def test_the_settings_of_an_adapter_have_one_order(trained: tuple[LocalBackend, Checkpoint]) -> None:
    """PEFT keeps names of modules in a set: the order, and with it the hash, would differ between processes."""
    told = json.loads(Path(str(trained[1].location), "adapter_config.json").read_text())
    assert told["target_modules"] == sorted(told["target_modules"])
    assert len(told["target_modules"]) > 3


def test_only_the_weights_of_the_adapter_are_kept(trained: tuple[LocalBackend, Checkpoint]) -> None:
    from safetensors import safe_open

    with safe_open(Path(str(trained[1].location), "adapter_model.safetensors"), "pt") as kept:
        names = list(kept.keys())
    assert names
    assert all(".lora_A." in name or ".lora_B." in name for name in names)


def test_base_and_adapters_side_by_side(trained: tuple[LocalBackend, Checkpoint], local, models) -> None:
    """One call with requests for the base model and two checkpoints; the base scores are exactly the base's."""
    backend, last = trained
    early = replace(last, step=5, location=str(Path(str(last.location)).parent / "step-00005"), content=None)
    mixed = [
        replace(request, id=f"{request.id} at {point and point.step}", checkpoint=point)
        for request in REQUESTS
        for point in (None, early, last, Checkpoint(0, None, ADAPTER))
    ]
    results = {result.id: result.logprobs for result in backend.score(mixed)}
    fresh = {result.id: result.logprobs for result in local(models["qwen2"]).score(REQUESTS)}
    for request in REQUESTS:
        np.testing.assert_array_equal(results[f"{request.id} at None"], results[f"{request.id} at 0"])
        np.testing.assert_allclose(results[f"{request.id} at None"], fresh[request.id], atol=1e-6, rtol=0)
        assert results[f"{request.id} at 20"].sum() > results[f"{request.id} at None"].sum()
        assert abs(results[f"{request.id} at 20"] - results[f"{request.id} at 5"]).max() > 1e-3


def test_sampling_from_a_checkpoint(trained: tuple[LocalBackend, Checkpoint]) -> None:
    """The sampled tokens' logprobs are the adapter's, not the base model's; both in one call."""
    backend, checkpoint = trained
    requests = [SampleRequest(f"{i} tuned", (1, 2 + i, 3), checkpoint) for i in range(20)]
    requests += [SampleRequest(f"{i} base", (1, 2 + i, 3)) for i in range(20)]
    drawn = {c.id: c for c in backend.sample(requests, Sampling(max_tokens=10))}
    for other in (False, True):
        asked = [
            ScoreRequest(
                r.id, r.context, drawn[r.id].token_ids, None if (r.checkpoint is None) != other else checkpoint
            )
            for r in requests
        ]
        gaps = [abs(drawn[r.id].logprobs - r.logprobs).max() for r in backend.score(asked)]
        assert (min(gaps) > 1e-3) if other else (max(gaps) < 1e-5)


def test_scoring_between_updates_does_not_disturb_training(local, models, tmp_path: Path) -> None:
    backend = local(models["qwen2"])
    quiet = losses(list(backend.train(short_job(tmp_path / "a"))))
    base = {result.id: result.logprobs for result in backend.score(REQUESTS)}
    found: list[float] = []
    for event in backend.train(short_job(tmp_path / "b")):
        if isinstance(event, Checkpoint):
            list(backend.score([replace(request, checkpoint=event) for request in REQUESTS]))
            for result in backend.score(REQUESTS):
                np.testing.assert_array_equal(result.logprobs, base[result.id])
        else:
            found.append(event.loss)
    assert found == quiet


def test_checkpoint_of_another_base_is_refused(trained: tuple[LocalBackend, Checkpoint], local, models) -> None:
    request = replace(REQUESTS[0], checkpoint=trained[1])
    with pytest.raises(BadInput, match=r"trained on .* whose weights hash differs"):
        list(local(models["llama"]).score([request]))
    with pytest.raises(BadInput, match="Fix: give a PEFT adapter"):
        list(trained[0].score([replace(request, checkpoint=Checkpoint(1, str(models["llama"]), ADAPTER))]))


def test_continuing_a_training(trained: tuple[LocalBackend, Checkpoint], local, models, tmp_path: Path) -> None:
    """The first update starts where the checkpoint ended: its loss is the checkpoint's on that batch."""
    backend, checkpoint = trained
    job = make_job(tmp_path / "t", start=checkpoint, checkpoint_steps=(), batches=((0, 1, 2),) * 3, warmup=0)
    requests, count = [], 0
    for i in (0, 1, 2):
        first = job.examples[i].weights.index(1.0)
        tokens = job.examples[i].token_ids
        requests.append(ScoreRequest(str(i), tokens[:first], tokens[first:], checkpoint))
        count += len(tokens) - first
    before = -sum(float(result.logprobs.sum()) for result in backend.score(requests)) / count
    found = losses(list(backend.train(job)))
    assert found[0] == pytest.approx(before, abs=1e-5)
    assert found[2] < found[0]
    with pytest.raises(BadInput, match=r"trained on .* whose weights hash differs"):
        list(local(models["llama"]).train(replace(job, directory=str(tmp_path / "v"))))
    with pytest.raises(BadInput, match="has rank 4 but continues"):
        list(backend.train(replace(job, adapter=replace(ADAPTER, rank=4), directory=str(tmp_path / "u"))))


def test_continuing_from_a_merged_adapter(trained: tuple[LocalBackend, Checkpoint], local, tmp_path: Path) -> None:
    """All weights of the model with the adapter in them: the loss starts where the adapter's ended, what is kept is a
    whole model, and the backend's own model is as it was."""
    import torch

    backend, checkpoint = trained
    plain = {r.id: r.logprobs for r in backend.score(REQUESTS)}
    full = AdapterSettings(kind="full")
    job = make_job(tmp_path / "t", start=checkpoint, adapter=full, checkpoint_steps=(), batches=((0, 1, 2),) * 3)
    job = replace(job, warmup=0, learning_rate=1e-4, resume_every=2)
    adapter = losses(list(backend.train(replace(job, adapter=ADAPTER, directory=str(tmp_path / "lora")))))
    stream = backend.train(job)
    seen = [next(stream), next(stream)]
    stream.close()
    events = list(backend.train(job))
    found = losses(events)
    assert found[0] == pytest.approx(adapter[0], abs=1e-5)
    assert found[:2] == losses(seen), "resumed"
    assert found[2] < found[0]
    last = events[-1]
    assert isinstance(last, Checkpoint)
    assert last.adapter == full
    state = load_state(str(last.location))
    learned = {n.split(".")[-2] for n, p in load_state(str(backend.model.source.directory)).items()
               if not torch.equal(p, state[n])}  # fmt: skip
    assert "embed_tokens" in learned, "weights that the adapter does not have"
    for id, values in {r.id: r.logprobs for r in backend.score(REQUESTS)}.items():
        np.testing.assert_array_equal(values, plain[id])


def load_state(folder: str) -> dict:
    from safetensors.torch import load_file

    return load_file(Path(folder) / "model.safetensors")


@pytest.mark.parametrize("style", ["gemma", pytest.param("qwen2", marks=pytest.mark.slow)])
def test_full_fine_tuning(local, models: dict[str, Path], tmp_path: Path, style: str) -> None:
    """All weights learn, are saved as a model, and score and resume; gemma's input and output weights are tied."""
    backend = local(models[style])
    job = make_job(tmp_path / "t", adapter=AdapterSettings(kind="full"), learning_rate=1e-3, resume_every=7)
    stream, seen = backend.train(job), []
    for event in stream:
        seen.append(event)
        if isinstance(event, TrainingStep) and event.step == 9:
            break
    stream.close()
    events = list(backend.train(job))
    assert losses(events)[:9] == losses(seen)
    assert losses(events)[-1] < losses(events)[0] - 0.3
    assert isinstance(events[-1], Checkpoint)
    tuned = {r.id: r.logprobs for r in backend.score([replace(q, checkpoint=events[-1]) for q in REQUESTS])}
    base = {r.id: r.logprobs for r in backend.score(REQUESTS)}
    fresh = {r.id: r.logprobs for r in local(models[style]).score(REQUESTS)}
    for id, values in base.items():
        np.testing.assert_array_equal(values, fresh[id])
        assert abs(tuned[id] - values).max() > 0.1
    import torch
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(str(events[-1].location))
    with torch.no_grad():
        logits = model(torch.tensor([REQUESTS[0].context + REQUESTS[0].completion])).logits[0, 2:-1]
    expected = logits.log_softmax(-1)[range(4), list(REQUESTS[0].completion)].numpy()
    np.testing.assert_allclose(tuned["0"], expected, atol=1e-5, rtol=0)


def test_continuing_a_full_fine_tuning(local, models: dict[str, Path], tmp_path: Path) -> None:
    """The first update starts from the whole model that is kept, not from the base."""
    backend, full = local(models["qwen2"]), AdapterSettings(kind="full")
    job = make_job(tmp_path / "a", adapter=full, batches=((0, 1, 2),) * 4, checkpoint_steps=(2,), warmup=0)
    events = list(backend.train(job))
    (early,) = (e for e in events if isinstance(e, Checkpoint) and e.step == 2)
    more = list(backend.train(replace(job, start=early, directory=str(tmp_path / "b"))))
    assert losses(more)[0] == pytest.approx(losses(events)[2], abs=1e-5)
    assert abs(losses(more)[0] - losses(events)[0]) > 0.01


def test_training_and_adapters_warn_of_nothing(local, models: dict[str, Path], tmp_path: Path) -> None:
    """What PEFT and transformers warn of when called carelessly is no news to a user of inoc."""
    import warnings

    trainer, reader = local(models["llama"]), local(models["llama"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        *_, last = trainer.train(short_job(tmp_path, gradient_checkpointing=True))
        assert isinstance(last, Checkpoint)
        for backend in (trainer, reader):
            list(backend.score([replace(REQUESTS[0], checkpoint=last)]))
