"""Damaged, swapped, moved and copied weights: what a training left is used as it was written, or not at all."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inoc.backends.local import LocalBackend
from inoc.backends.protocols import AdapterSettings, Checkpoint, SampleRequest, TrainingEvent, TrainingJob, TrainingStep
from inoc.errors import BadInput
from inoc.values import Sampling

from .jobs import REQUESTS, losses, short_job

FULL = AdapterSettings(kind="full")


def last(events: list[TrainingEvent]) -> Checkpoint:
    assert isinstance(events[-1], Checkpoint)
    return events[-1]


@pytest.fixture(scope="module")
def trained(
    local, models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory
) -> tuple[LocalBackend, dict[str, Checkpoint]]:
    """Two runs that differ in their seed, and a full fine-tuning."""
    backend, root = local(models["qwen2"]), tmp_path_factory.mktemp("runs")
    jobs = {
        "lora": short_job(root / "a", id="a"),
        "other": short_job(root / "b", id="b", seed=1),
        "full": short_job(root / "c", id="c", adapter=FULL),
    }
    return backend, {name: last(list(backend.train(job))) for name, job in jobs.items()}


def damaged(checkpoint: Checkpoint, place: Path, damage: Callable[[Path], object]) -> Checkpoint:
    """A copy of a checkpoint with a damage."""
    shutil.copytree(str(checkpoint.location), place)
    damage(place)
    return replace(checkpoint, location=str(place))


def weights(folder: Path) -> Path:
    (found,) = folder.glob("*.safetensors")
    return found


def flip_exponent(folder: Path) -> None:
    """The second-highest bit of the last float32: 1e-2 becomes 1e36."""
    data = bytearray(weights(folder).read_bytes())
    data[-1] ^= 0x40
    weights(folder).write_bytes(data)


def zero(folder: Path) -> None:
    from safetensors.numpy import load_file, save_file

    tensors = load_file(weights(folder))
    save_file({name: np.zeros_like(value) for name, value in tensors.items()}, weights(folder), {"format": "pt"})


DAMAGES: dict[str, Callable[[Path], object]] = {
    "exponent bit": flip_exponent,
    "zeroed tensors": zero,
    "no manifest": lambda folder: (folder / "manifest.json").unlink(),
    "no configuration": lambda folder: next(folder.glob("*config.json")).unlink(),
    "changed alpha": lambda folder: next(folder.glob("*config.json")).write_text('{"lora_alpha": 1}'),
    "an extra file": lambda folder: (folder / "generation_config.json").write_text("{}"),
}


@pytest.mark.parametrize("kind", ["lora", "full"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_weights_give_no_value(
    trained: tuple[LocalBackend, dict[str, Checkpoint]], tmp_path: Path, kind: str, damage: str
) -> None:
    backend, checkpoints = trained
    checkpoint = damaged(checkpoints[kind], tmp_path / "kept", DAMAGES[damage])
    with pytest.raises(BadInput, match="Fix: "):
        list(backend.score([replace(REQUESTS[0], checkpoint=checkpoint)]))
    with pytest.raises(BadInput, match="Fix: "):
        list(backend.sample([SampleRequest("a", (1, 2), checkpoint)], Sampling(max_tokens=2)))
    with pytest.raises(BadInput, match="Fix: "):
        list(backend.train(short_job(tmp_path / "more", adapter=checkpoint.adapter, start=checkpoint)))


def test_the_adapter_of_another_run_is_refused(
    trained: tuple[LocalBackend, dict[str, Checkpoint]], tmp_path: Path
) -> None:
    """The whole folder, manifest included, or its weights alone."""
    backend, checkpoints = trained
    lora, other = checkpoints["lora"], Path(str(checkpoints["other"].location))
    whole = damaged(lora, tmp_path / "whole", lambda place: (shutil.rmtree(place), shutil.copytree(other, place)))
    part = damaged(lora, tmp_path / "part", lambda place: shutil.copy(weights(other), place))
    for checkpoint, says in ((whole, "not hold the weights that its run recorded"), (part, "is damaged")):
        with pytest.raises(BadInput, match=says):
            list(backend.score([replace(REQUESTS[0], checkpoint=checkpoint)]))


def test_an_untouched_copy_gives_the_same_values(
    trained: tuple[LocalBackend, dict[str, Checkpoint]], tmp_path: Path
) -> None:
    backend, checkpoints = trained
    for kind in ("lora", "full"):
        copy = damaged(checkpoints[kind], tmp_path / kind, lambda place: None)
        values = [
            next(backend.score([replace(REQUESTS[0], checkpoint=point)])).logprobs
            for point in (checkpoints[kind], copy)
        ]
        np.testing.assert_array_equal(values[0], values[1])


@pytest.mark.parametrize("damage", ["weights", "optimizer", "losses", "missing", "manifest", "another run's"])
def test_a_damaged_state_is_not_resumed(local, models: dict[str, Path], tmp_path: Path, damage: str) -> None:
    backend = local(models["llama"])
    job = short_job(tmp_path / "t", id="t")
    begin(backend, job, 6)
    (folder,) = (tmp_path / "t").glob("resume-*")
    match damage:
        case "weights":
            flip_exponent(folder)
        case "optimizer":
            data = bytearray((folder / "optimizer.pt").read_bytes())
            data[len(data) // 2] ^= 1
            (folder / "optimizer.pt").write_bytes(data)
        case "losses":
            state = json.loads((folder / "state.json").read_text())
            state["steps"][0]["loss"] += 1.0
            (folder / "state.json").write_text(json.dumps(state))
        case "missing":
            (folder / "optimizer.pt").unlink()
        case "manifest":
            (folder / "manifest.json").unlink()
        case _:
            other = short_job(tmp_path / "u", id="u", seed=9)
            begin(backend, other, 6)
            shutil.rmtree(folder)
            shutil.copytree(next((tmp_path / "u").glob("resume-*")), folder)
    with pytest.raises(BadInput, match="Fix: "):
        list(backend.train(job))


def test_a_damaged_checkpoint_of_a_resumed_training_is_noticed(local, models: dict[str, Path], tmp_path: Path) -> None:
    backend, job = local(models["llama"]), short_job(tmp_path / "t")
    begin(backend, job, 8)
    flip_exponent(tmp_path / "t" / "step-00005")
    with pytest.raises(BadInput, match="is damaged"):
        list(backend.train(job))
    shutil.rmtree(tmp_path / "t" / "step-00005")
    with pytest.raises(BadInput, match="is missing"):
        list(backend.train(job))
    shutil.rmtree(tmp_path / "t")
    assert len(losses(list(backend.train(job)))) == 8


def begin(backend: LocalBackend, job: TrainingJob, updates: int) -> None:
    """Interrupt a training after some updates."""
    for event in backend.train(job):
        if isinstance(event, TrainingStep) and event.step == updates:
            return
