"""The training loop against a hand-written one, the response mask, resuming after SIGKILL, manifests, adapters."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.local.train import learning_rate
from inoc.backends.protocols import (
    Checkpoint,
    Recipe,
    SampleRequest,
    Sampling,
    ScoreRequest,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.errors import BadInput, OtherSettings

RECIPE = Recipe(rank=8, alpha=16.0)
REQUESTS = [ScoreRequest(str(i), (1, 2 + i, 3), (70 + i, 71, 72, 73)) for i in range(6)]


def make_job(directory: Path, **changes: object) -> TrainingJob:
    """24 examples of 8 to 40 tokens, 20 updates of 8."""
    rng = np.random.default_rng(0)
    examples: list[TrainingExample] = []
    for number in range(24):
        context, response = int(rng.integers(3, 20)), int(rng.integers(5, 20))
        tokens = (*rng.integers(0, 256, context).tolist(), *rng.integers(60, 90, response).tolist())
        examples.append(TrainingExample(f"e{number}", tokens, (0.0,) * context + (1.0,) * response))
    order = [int(i) for _ in range(7) for i in rng.permutation(24)]
    batches = tuple(tuple(order[start : start + 8]) for start in range(0, 160, 8))
    job = TrainingJob(
        "job", tuple(examples), batches, RECIPE, learning_rate=3e-3, warmup=4, accumulation=3, optimizer="adamw",
        checkpoint_steps=(5, 10), resume_every=4, directory=str(directory),
    )  # fmt: skip
    return replace(job, **changes)  # type: ignore[arg-type]


def losses(events: list[object]) -> list[float]:
    return [event.loss for event in events if isinstance(event, TrainingStep)]


def hand_written_loop(model_directory: Path, job: TrainingJob, accumulation: int = 1) -> list[float]:
    """A PEFT loop as one would write it: whole logits, one sequence at a time, transformers' own schedule."""
    import peft
    import torch
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(model_directory)
    torch.manual_seed(job.seed)
    config = peft.LoraConfig(
        r=8, lora_alpha=16, use_rslora=True, task_type="CAUSAL_LM", target_modules=list(RECIPE.targets)
    )
    model = peft.get_peft_model(base, config)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=job.learning_rate, weight_decay=job.weight_decay)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, job.warmup, len(job.batches))
    found: list[float] = []
    for batch in job.batches:
        count = sum(sum(job.examples[i].weights) for i in batch)
        total = 0.0
        for i in batch:
            tokens = torch.tensor([job.examples[i].token_ids])
            labels = tokens.clone()
            labels[0, [w == 0 for w in job.examples[i].weights]] = -100
            logits = model(input_ids=tokens).logits[0, :-1]
            nll = torch.nn.functional.cross_entropy(logits, labels[0, 1:], reduction="sum") / count
            nll.backward()
            total += float(nll.detach())
        torch.nn.utils.clip_grad_norm_(weights, job.max_grad_norm)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        found.append(total)
    return found


def test_twenty_updates_equal_a_hand_written_loop(
    local, models: dict[str, Path], style: str, tmp_path: Path
) -> None:
    job = make_job(tmp_path / "t")
    events = list(local(models[style]).train(job))
    ours, theirs = losses(events), hand_written_loop(models[style], job)
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    assert ours[-1] < ours[0] - 0.3
    kept = [event.step for event in events if isinstance(event, Checkpoint)]
    assert kept == [5, 10, 20]


def test_micro_batches_and_recomputation_change_nothing(
    local, models: dict[str, Path], tmp_path: Path
) -> None:
    backend = local(models["qwen2"])
    plain = losses(list(backend.train(make_job(tmp_path / "a", accumulation=1))))
    split = losses(list(backend.train(make_job(tmp_path / "b", accumulation=8, gradient_checkpointing=True))))
    np.testing.assert_allclose(plain, split, atol=1e-5, rtol=0)


def test_learning_rate_is_transformers_linear_schedule(tmp_path: Path) -> None:
    import torch
    import transformers

    job = make_job(tmp_path)
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=job.learning_rate)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, job.warmup, len(job.batches))
    for update in range(len(job.batches)):
        assert learning_rate(job, update) == pytest.approx(schedule.get_last_lr()[0], rel=1e-12)
        optimizer.step()
        schedule.step()


def test_only_weighted_tokens_are_learned(local, models: dict[str, Path], tmp_path: Path) -> None:
    """Other targets where the weight is zero change nothing (one token of context is all the response sees)."""
    import torch

    from inoc.backends.local.train import summed_loss

    engine = local(models["llama"]).engine
    example = TrainingExample("a", (5, 6, 7, 8, 9, 10), (0.0, 0.0, 1.0, 0.5, 0.0, 1.0))
    with torch.no_grad():
        logprobs = engine.model(torch.tensor([example.token_ids])).logits[0].log_softmax(-1)
        by_hand = -(logprobs[1, 7] + 0.5 * logprobs[2, 8] + logprobs[4, 10])
        other = TrainingExample("b", (1, 2), (0.0, 2.0))
        alone = summed_loss(engine, [other])
        assert float(summed_loss(engine, [example])) == pytest.approx(float(by_hand), abs=1e-5)
        assert float(summed_loss(engine, [other, example])) == pytest.approx(float(by_hand + alone), abs=1e-5)


# the response of "Hi"/"Yes!" as each template writes it: the answer and one end-of-turn token
ENDS = {"qwen2": "<|im_end|>", "llama": "<|eot_id|>", "gemma": "<end_of_turn>"}


def test_response_mask_of_three_templates(local, models: dict[str, Path], style: str) -> None:
    from inoc.chat import Chat

    backend = local(models[style])
    example = Chat(backend.tokenizer).training_example("a", "Hi", "Yes!", prefix="Be brief.")
    pieces = [backend.tokenizer.decode([token]) for token in example.token_ids]
    learned = [piece for piece, weight in zip(pieces, example.weights, strict=True) if weight]
    assert learned == ["Y", "e", "s", "!", ENDS[style]]
    assert set(example.weights) == {0.0, 1.0}
    masked = "".join(piece for piece, weight in zip(pieces, example.weights, strict=True) if not weight)
    assert masked.endswith(("assistant\n", "assistant<|end_header_id|>\n\n", "model\n"))
    assert "Be brief. Hi" in masked


CHILD = """
import json, sys
from inoc.backends.local import LocalBackend
from inoc.backends.protocols import ModelSpec, TrainingStep
sys.path.insert(0, sys.argv[1])
from test_train import make_job
from pathlib import Path
job = make_job(Path(sys.argv[3]))
for event in LocalBackend.from_spec(ModelSpec(sys.argv[2], options={"device": "cpu"})).train(job):
    if isinstance(event, TrainingStep):
        print(json.dumps([event.step, event.loss]), flush=True)
"""


def test_continues_after_sigkill_with_the_same_losses(local, models: dict[str, Path], tmp_path: Path) -> None:
    whole = losses(list(local(models["qwen2"]).train(make_job(tmp_path / "whole"))))
    command = [
        sys.executable,
        "-c",
        CHILD,
        str(Path(__file__).parent),
        str(models["qwen2"]),
        str(tmp_path / "cut"),
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)[0] == 11:
            os.kill(process.pid, signal.SIGKILL)
            break
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    assert [path.name for path in (tmp_path / "cut").glob("resume-*")] == ["resume-00008"]
    backend = local(models["qwen2"])
    done: list[int] = []
    update = __import__("inoc.backends.local.train", fromlist=["Run"]).Run.update
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "inoc.backends.local.train.Run.update",
            lambda self, number: done.append(number) or update(self, number),
        )
        events = list(backend.train(make_job(tmp_path / "cut")))
    assert done == list(range(9, 21))
    assert [event.step for event in events if isinstance(event, TrainingStep)] == list(range(1, 21))
    np.testing.assert_allclose(losses(events), whole, atol=1e-7, rtol=0)
    assert [event.step for event in events if isinstance(event, Checkpoint)] == [5, 10, 20]
    # once more: nothing is trained, everything is reported
    assert losses(list(backend.train(make_job(tmp_path / "cut")))) == losses(events)


def test_dropout_is_the_same_when_resumed(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, recipe = local(models["qwen2"]), replace(RECIPE, dropout=0.3)
    job = make_job(tmp_path / "a", recipe=recipe)
    whole = losses(list(backend.train(job)))
    stream = backend.train(replace(job, directory=str(tmp_path / "b")))
    for event in stream:
        if isinstance(event, TrainingStep) and event.step == 6:
            break
    stream.close()  # type: ignore[attr-defined]
    again = losses(list(backend.train(replace(job, directory=str(tmp_path / "b")))))
    assert again == whole


def test_another_job_in_the_same_directory_is_refused(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, job = (
        local(models["qwen2"]),
        make_job(tmp_path / "t", batches=((0, 1), (2, 3)), checkpoint_steps=()),
    )
    list(backend.train(job))
    with pytest.raises(OtherSettings, match=r"settings: .*'learning_rate': 0\.003.*'learning_rate': 0\.5"):
        list(backend.train(replace(job, learning_rate=0.5)))
    with pytest.raises(OtherSettings, match="base: "):
        list(local(models["llama"]).train(job))
    swapped = (job.examples[1], job.examples[0], *job.examples[2:])
    with pytest.raises(OtherSettings, match="examples: "):
        list(backend.train(replace(job, examples=swapped)))


def test_half_written_folders_are_swept(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, job = (
        local(models["qwen2"]),
        make_job(tmp_path / "t", batches=((0, 1), (2, 3)), checkpoint_steps=()),
    )
    (tmp_path / "t" / ".writing-step-00002").mkdir(parents=True)
    list(backend.train(job))
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == [
        "manifest.json",
        "resume-00002",
        "step-00002",
    ]
    manifest = json.loads((tmp_path / "t" / "step-00002" / "manifest.json").read_text())
    assert manifest["step"] == 2
    assert manifest["base"]["weights"] == backend.identity()["weights"]
    assert manifest["recipe"]["rank"] == 8


@pytest.fixture(scope="module")
def trained(
    local, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[LocalBackend, Checkpoint]:
    backend = local(models["qwen2"])
    events = list(backend.train(make_job(tmp_path_factory.mktemp("trained"))))
    assert isinstance(events[-1], Checkpoint)
    return backend, events[-1]


def test_adapter_scores_as_plain_peft_does(
    trained: tuple[LocalBackend, Checkpoint], models: dict[str, Path]
) -> None:
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


def test_base_and_adapters_side_by_side(trained: tuple[LocalBackend, Checkpoint], local, models) -> None:
    """One call with requests for the base model and two checkpoints; the base scores are exactly the base's."""
    backend, last = trained
    early = replace(last, step=5, location=str(Path(str(last.location)).parent / "step-00005"))
    mixed = [
        replace(request, id=f"{request.id} at {point and point.step}", checkpoint=point)
        for request in REQUESTS
        for point in (None, early, last, Checkpoint(0, None, RECIPE))
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
                r.id,
                r.context,
                drawn[r.id].token_ids,
                None if (r.checkpoint is None) != other else checkpoint,
            )
            for r in requests
        ]
        gaps = [abs(drawn[r.id].logprobs - r.logprobs).max() for r in backend.score(asked)]
        assert (min(gaps) > 1e-3) if other else (max(gaps) < 1e-5)


def test_scoring_between_updates_does_not_disturb_training(local, models, tmp_path: Path) -> None:
    backend = local(models["qwen2"])
    quiet = losses(list(backend.train(make_job(tmp_path / "a"))))
    base = {result.id: result.logprobs for result in backend.score(REQUESTS)}
    found: list[float] = []
    for event in backend.train(make_job(tmp_path / "b")):
        if isinstance(event, Checkpoint):
            list(backend.score([replace(request, checkpoint=event) for request in REQUESTS]))
            for result in backend.score(REQUESTS):
                np.testing.assert_array_equal(result.logprobs, base[result.id])
        else:
            found.append(event.loss)
    assert found == quiet


def test_checkpoint_of_another_base_is_refused(
    trained: tuple[LocalBackend, Checkpoint], local, models
) -> None:
    request = replace(REQUESTS[0], checkpoint=trained[1])
    with pytest.raises(BadInput, match=r"trained on .* with other weights"):
        list(local(models["llama"]).score([request]))
    with pytest.raises(BadInput, match="is no adapter"):
        list(trained[0].score([replace(request, checkpoint=Checkpoint(1, str(models["llama"]), RECIPE))]))


def test_continuing_a_training(trained: tuple[LocalBackend, Checkpoint], tmp_path: Path) -> None:
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
    with pytest.raises(BadInput, match="another rank"):
        list(backend.train(replace(job, recipe=replace(RECIPE, rank=4), directory=str(tmp_path / "u"))))


@pytest.mark.parametrize("style", ["qwen2", "gemma"])
def test_full_fine_tuning(local, models: dict[str, Path], tmp_path: Path, style: str) -> None:
    """All weights learn, are saved as a model, and score and resume; gemma's input and output weights are tied."""
    backend = local(models[style])
    job = make_job(tmp_path / "t", recipe=Recipe(kind="full"), learning_rate=1e-3, resume_every=7)
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


def test_bad_jobs(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend = local(models["qwen2"])
    with pytest.raises(BadInput, match="has no directory"):
        list(backend.train(replace(make_job(tmp_path), directory="")))
    with pytest.raises(BadInput, match="no batches"):
        list(backend.train(make_job(tmp_path, batches=())))
    with pytest.raises(BadInput, match="checkpoint at 99"):
        list(backend.train(make_job(tmp_path, checkpoint_steps=(99,))))
    no_context = TrainingExample("bare", (1, 2), (1.0, 1.0))
    with pytest.raises(BadInput, match="'bare' has no context"):
        list(backend.train(make_job(tmp_path, examples=(no_context,), batches=((0,),), checkpoint_steps=())))
    with pytest.raises(BadInput, match="does not fit the model"):
        list(backend.train(make_job(tmp_path, recipe=Recipe(targets=("no_such_layer",)))))
    assert not list(tmp_path.iterdir())


def test_memory_pressure_halves_the_micro_batch(
    local,
    models: dict[str, Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    import torch

    import inoc.backends.local.train as module

    plain = losses(list(local(models["qwen2"]).train(make_job(tmp_path / "a", accumulation=1))))
    summed = module.summed_loss

    def small(engine: object, examples: list[TrainingExample]) -> torch.Tensor:
        if len(examples) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (a test)")
        return summed(engine, examples)

    monkeypatch.setattr(module, "summed_loss", small)
    found = losses(list(local(models["qwen2"]).train(make_job(tmp_path / "b", accumulation=1))))
    np.testing.assert_allclose(found, plain, atol=1e-5, rtol=0)
    assert "micro-batches of 2" in caplog.text
