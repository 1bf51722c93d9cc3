"""The training loop against a hand-written one, the response mask, resuming after SIGKILL, manifests, adapters."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc.backends.local.train import Updates, learning_rate
from inoc.backends.local.trainable import eight_bit_adamw, make_optimizer
from inoc.backends.protocols import AdapterSettings, Checkpoint, TrainingExample, TrainingJob, TrainingStep
from inoc.errors import BadInput, OtherSettings

from .jobs import ADAPTER, losses, make_job, short_job


def hand_written_loop(model_directory: Path, job: TrainingJob) -> tuple[list[float], list[float]]:
    """A PEFT loop as one would write it: whole logits, one sequence at a time, transformers' own schedule."""
    import peft
    import torch
    import transformers

    base = transformers.AutoModelForCausalLM.from_pretrained(model_directory)
    torch.manual_seed(job.seed)
    config = peft.LoraConfig(
        r=8, lora_alpha=16, use_rslora=True, task_type="CAUSAL_LM", target_modules=list(ADAPTER.targets)
    )
    model = peft.get_peft_model(base, config)
    weights = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(weights, lr=job.learning_rate, weight_decay=job.weight_decay)
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, job.warmup, len(job.batches))
    found: list[float] = []
    norms: list[float] = []
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
        norms.append(float(torch.nn.utils.clip_grad_norm_(weights, job.max_grad_norm)))
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        found.append(total)
    return found, norms


# the loop is one for all styles, and the other tests here train the other two
@pytest.mark.parametrize("style", ["qwen2", *(pytest.param(s, marks=pytest.mark.slow) for s in ("llama", "gemma"))])
def test_twenty_updates_equal_a_hand_written_loop(local, models: dict[str, Path], style: str, tmp_path: Path) -> None:
    job = make_job(tmp_path / "t")
    events = list(local(models[style]).train(job))
    ours, (theirs, norms) = losses(events), hand_written_loop(models[style], job)
    np.testing.assert_allclose(ours, theirs, atol=1e-5, rtol=0)
    steps = [event for event in events if isinstance(event, TrainingStep)]
    np.testing.assert_allclose([step.grad_norm for step in steps], norms, rtol=1e-2)
    assert max(norms) > job.max_grad_norm
    assert ours[-1] < ours[0] - 0.3
    kept = [event.step for event in events if isinstance(event, Checkpoint)]
    assert kept == [5, 10, 20]


def test_the_first_update_may_be_kept(local, models: dict[str, Path], tmp_path: Path) -> None:
    job = short_job(tmp_path, batches=((0, 1), (2, 3), (4, 5)), checkpoint_steps=(0, 1))
    events = list(local(models["qwen2"]).train(job))
    assert [event.step for event in events if isinstance(event, Checkpoint)] == [1, 3]
    assert [type(event).__name__ for event in events][:2] == ["TrainingStep", "Checkpoint"]


def test_micro_batches_and_recomputation_change_nothing(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend = local(models["qwen2"])
    plain = losses(list(backend.train(short_job(tmp_path / "a", accumulation=1))))
    split = losses(list(backend.train(short_job(tmp_path / "b", accumulation=8, gradient_checkpointing=True))))
    np.testing.assert_allclose(plain, split, atol=1e-5, rtol=0)


def test_logits_in_pieces_change_nothing(local, models, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three rows of logits at a time; the last piece is shorter."""
    plain = losses(list(local(models["llama"]).train(short_job(tmp_path / "a", accumulation=1))))
    monkeypatch.setattr("inoc.backends.local.train.LOGIT_BYTES", 4 * 264 * 3 + 1)
    pieces = losses(list(local(models["llama"]).train(short_job(tmp_path / "b", accumulation=1))))
    np.testing.assert_allclose(pieces, plain, atol=1e-5, rtol=0)


def test_weight_decay_is_on_matrices_only(tmp_path: Path) -> None:
    import torch

    matrix, vector = torch.nn.Parameter(torch.ones(2, 2)), torch.nn.Parameter(torch.ones(2))
    job = make_job(tmp_path, weight_decay=0.3)
    optimizer, name = make_optimizer(job, [vector, matrix])
    assert name == "adamw"
    assert [(group["params"], group["weight_decay"]) for group in optimizer.param_groups] == [
        ([matrix], 0.3),
        ([vector], 0.0),
    ]
    assert {group["lr"] for group in optimizer.param_groups} == {job.learning_rate}
    only, _ = make_optimizer(job, [vector])
    assert [group["weight_decay"] for group in only.param_groups] == [0.0]


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

    engine = local(models["llama"]).model.engine
    example = TrainingExample("a", (5, 6, 7, 8, 9, 10), (0.0, 0.0, 1.0, 0.5, 0.0, 1.0))
    with torch.no_grad():
        logprobs = engine.model(torch.tensor([example.token_ids])).logits[0].log_softmax(-1)
        by_hand = -(logprobs[1, 7] + 0.5 * logprobs[2, 8] + logprobs[4, 10])
        other = TrainingExample("b", (1, 2), (0.0, 2.0))
        alone = summed_loss(engine, [other])
        assert float(summed_loss(engine, [example])) == pytest.approx(float(by_hand), abs=1e-5)
        assert float(summed_loss(engine, [other, example])) == pytest.approx(float(by_hand + alone), abs=1e-5)


def test_a_model_that_does_more_than_project_has_the_same_loss(local, models: dict[str, Path]) -> None:
    """The model's own forward pass over rows of different lengths, and the output layer on the weighted rows only."""
    import torch

    from inoc.backends.local.train import summed_loss

    engine = local(models["llama"]).model.engine
    rows = [
        TrainingExample("a", (5, 6, 7, 8, 9), (0.0, 0.0, 1.0, 0.5, 1.0)),
        TrainingExample("b", (1, 2, 3), (0.0, 0.0, 2.0)),
    ]
    with torch.no_grad():
        assert engine.projects_rows
        ours = float(summed_loss(engine, rows))
        engine.projects_rows = False
        assert float(summed_loss(engine, rows)) == pytest.approx(ours, abs=1e-5)


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
from jobs import make_job
from pathlib import Path
job = make_job(Path(sys.argv[3]))
for event in LocalBackend.from_spec(ModelSpec(sys.argv[2], options={"device": "cpu"})).train(job):
    if isinstance(event, TrainingStep):
        print(json.dumps([event.step, event.loss]), flush=True)
"""


def test_continues_after_sigkill_with_the_same_losses(local, models: dict[str, Path], tmp_path: Path) -> None:
    whole = losses(list(local(models["qwen2"]).train(make_job(tmp_path / "whole"))))
    command = [sys.executable, "-c", CHILD, str(Path(__file__).parent), str(models["qwen2"]), str(tmp_path / "cut")]
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
    update = Updates.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "inoc.backends.local.train.Updates.run", lambda self, number: done.append(number) or update(self, number)
        )
        events = list(backend.train(make_job(tmp_path / "cut")))
    assert done == list(range(9, 21))
    assert [event.step for event in events if isinstance(event, TrainingStep)] == list(range(1, 21))
    np.testing.assert_allclose(losses(events), whole, atol=1e-7, rtol=0)
    assert [event.step for event in events if isinstance(event, Checkpoint)] == [5, 10, 20]
    # once more: nothing is trained, everything is reported
    assert losses(list(backend.train(make_job(tmp_path / "cut")))) == losses(events)


def test_dropout_is_the_same_when_resumed(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, adapter = local(models["qwen2"]), replace(ADAPTER, dropout=0.3)
    job = short_job(tmp_path / "a", adapter=adapter)
    whole = losses(list(backend.train(job)))
    stream = backend.train(replace(job, directory=str(tmp_path / "b")))
    for event in stream:
        if isinstance(event, TrainingStep) and event.step == 6:
            break
    stream.close()  # type: ignore[attr-defined]
    again = losses(list(backend.train(replace(job, directory=str(tmp_path / "b")))))
    assert again == whole


def test_dropout_differs_from_update_to_update(local, models: dict[str, Path], tmp_path: Path) -> None:
    """The same batch with a learning rate of 0: only dropout can change the loss."""
    job = short_job(tmp_path / "a", learning_rate=0.0, batches=((0, 1, 2),) * 4, checkpoint_steps=())
    start = tmp_path / "start"
    list(local(models["qwen2"]).train(short_job(start)))
    job = replace(job, start=Checkpoint(8, str(start / "step-00008"), ADAPTER))
    assert len(set(losses(list(local(models["qwen2"]).train(job))))) == 1
    dropping = replace(job, directory=str(tmp_path / "b"), adapter=replace(ADAPTER, dropout=0.3))
    assert len(set(losses(list(local(models["qwen2"]).train(dropping))))) == 4


def test_another_job_in_the_same_directory_is_refused(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, job = (local(models["qwen2"]), make_job(tmp_path / "t", batches=((0, 1), (2, 3)), checkpoint_steps=()))
    list(backend.train(job))
    with pytest.raises(OtherSettings, match=r"settings: .*'learning_rate': 0\.003.*'learning_rate': 0\.5"):
        list(backend.train(replace(job, learning_rate=0.5)))
    with pytest.raises(OtherSettings, match="base: "):
        list(local(models["llama"]).train(job))
    swapped = (job.examples[1], job.examples[0], *job.examples[2:])
    with pytest.raises(OtherSettings, match="examples: "):
        list(backend.train(replace(job, examples=swapped)))


def test_half_written_folders_are_swept(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, job = (local(models["qwen2"]), make_job(tmp_path / "t", batches=((0, 1), (2, 3)), checkpoint_steps=()))
    (tmp_path / "t" / ".writing-step-00002").mkdir(parents=True)
    list(backend.train(job))
    assert sorted(path.name for path in (tmp_path / "t").iterdir()) == ["manifest.json", "resume-00002", "step-00002"]
    manifest = json.loads((tmp_path / "t" / "step-00002" / "manifest.json").read_text())
    assert manifest["step"] == 2
    assert manifest["base"]["weights"] == backend.identity()["weights"]
    assert manifest["adapter"]["rank"] == 8


def test_eight_bit_adamw_or_a_word_about_it(
    local, models: dict[str, Path], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With bitsandbytes 8-bit states, resumed as exactly; without it torch's AdamW, said and written down."""
    eight_bit_adamw.cache_clear()  # it is told once
    job = make_job(tmp_path / "a", optimizer="adamw_8bit", adapter=replace(ADAPTER, rank=64))
    backend = local(models["qwen2"])
    whole = losses(list(backend.train(job)))
    used = json.loads((tmp_path / "a" / "manifest.json").read_text())["settings"]["optimizer"]
    if importlib.util.find_spec("bitsandbytes") is None:
        assert used == "adamw"
        assert "8-bit AdamW is not available here" in caplog.text
        return
    assert used == "adamw_8bit"
    stream = backend.train(replace(job, directory=str(tmp_path / "b")))
    next(event for event in stream if isinstance(event, TrainingStep) and event.step == 6)
    stream.close()
    assert losses(list(backend.train(replace(job, directory=str(tmp_path / "b"))))) == whole


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
    with pytest.raises(BadInput, match="do not fit the model"):
        list(backend.train(make_job(tmp_path, adapter=AdapterSettings(targets=("no_such_layer",)))))
    assert not list(tmp_path.iterdir())


def test_memory_pressure_halves_the_micro_batch(
    local, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import torch

    import inoc.backends.local.train as module

    plain = losses(list(local(models["qwen2"]).train(short_job(tmp_path / "a", accumulation=1))))
    summed = module.summed_loss

    def small(engine: object, examples: list[TrainingExample]) -> torch.Tensor:
        if len(examples) > 2:
            raise torch.OutOfMemoryError("CUDA out of memory (a test)")
        return summed(engine, examples)

    monkeypatch.setattr(module, "summed_loss", small)
    found = losses(list(local(models["qwen2"]).train(short_job(tmp_path / "b", accumulation=1))))
    np.testing.assert_allclose(found, plain, atol=1e-5, rtol=0)
    assert "micro-batches of 2" in caplog.text


def test_what_was_computed_before_memory_ran_out_does_not_count(
    local, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first micro-batch of the second update fits, the next one does not: both are done again, smaller."""
    import torch

    import inoc.backends.local.train as module

    job = short_job(tmp_path / "a", accumulation=4, batches=make_job(tmp_path).batches[:4], checkpoint_steps=())
    plain = losses(list(local(models["qwen2"]).train(job)))
    summed, calls = module.summed_loss, list[int]()

    def once(engine: object, examples: list[TrainingExample]) -> torch.Tensor:
        calls.append(len(examples))
        if len(calls) == 6:
            raise torch.OutOfMemoryError("CUDA out of memory (a test)")
        return summed(engine, examples)

    monkeypatch.setattr(module, "summed_loss", once)
    found = losses(list(local(models["qwen2"]).train(replace(job, directory=str(tmp_path / "b")))))
    assert calls == [2] * 6 + [1] * 24
    np.testing.assert_allclose(found, plain, atol=1e-5, rtol=0)


def test_another_error_is_not_taken_for_a_lack_of_memory(
    local, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise RuntimeError("mine")

    monkeypatch.setattr("inoc.backends.local.train.summed_loss", fails)
    with pytest.raises(RuntimeError, match=r"^mine$"):
        list(local(models["qwen2"]).train(short_job(tmp_path)))


def recomputing(model) -> bool:
    """Whether activations are computed again, under either name that transformers has for it."""
    name = "activation" if hasattr(model, "is_activation_checkpointing") else "gradient"
    return getattr(model, f"is_{name}_checkpointing")


@pytest.mark.parametrize("again", [False, True])
def test_the_model_is_left_as_it_was_found(
    local, models: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, again: bool
) -> None:
    """Activations are computed again during the updates where that is asked for, and only then; nothing drops out
    afterwards."""
    import inoc.backends.local.train as module

    backend, summed, seen = local(models["qwen2"]), module.summed_loss, set[tuple[bool, bool]]()

    def watched(engine, examples: list[TrainingExample]):
        seen.add((recomputing(engine.model), engine.model.training))
        return summed(engine, examples)

    monkeypatch.setattr(module, "summed_loss", watched)
    job = short_job(tmp_path, batches=((0, 1),), checkpoint_steps=(), gradient_checkpointing=again)
    list(backend.train(job))
    assert seen == {(again, True)}
    model = backend.model.engine.model
    assert (recomputing(model), model.training) == (False, False)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_updates_are_in_the_arithmetic_of_the_model(
    models: dict[str, Path], tmp_path: Path, dtype: str, monkeypatch
) -> None:
    import torch

    import inoc.backends.local.train as module
    from inoc.backends.local import LocalBackend
    from inoc.backends.protocols import ModelSpec

    summed, seen = module.summed_loss, set[tuple[bool, torch.dtype]]()

    def watched(engine, examples: list[TrainingExample]):
        half = torch.is_autocast_enabled("cpu")
        seen.add((half, torch.get_autocast_dtype("cpu") if half else torch.float32))
        return summed(engine, examples)

    monkeypatch.setattr(module, "summed_loss", watched)
    backend = LocalBackend.from_spec(ModelSpec(str(models["qwen2"]), dtype=dtype, options={"device": "cpu"}))
    list(backend.train(short_job(tmp_path, batches=((0, 1),), checkpoint_steps=())))
    assert seen == {(dtype == "bfloat16", getattr(torch, dtype))}
