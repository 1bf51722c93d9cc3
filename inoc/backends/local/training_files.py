# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
"""What a training keeps on disk: its manifest, its checkpoints, and the state it resumes from.

    <directory>/manifest.json        what is trained: job hash, base model, adapter settings, optimizer
    <directory>/step-00050/          manifest.json, adapter_config.json, adapter_model.safetensors (or a model)
    <directory>/resume-00050/        weights.safetensors, optimizer.pt, state.json: the newest one only

Files and folders are written by `inoc.atomic`: one that exists is complete. Nothing is pickled: weights are
safetensors, and the optimizer's state is read with `weights_only=True`.
"""

import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file, save_file

from inoc.atomic import write_atomic, write_folder
from inoc.backends.model_files import weights_hash
from inoc.backends.protocols import TrainingJob, TrainingStep
from inoc.errors import BadInput, OtherSettings
from inoc.hashing import content_hash
from inoc.values import Scalar

Manifest = Mapping[str, object]
NOT_HASHED = ("id", "directory", "checkpoint_steps", "resume_every", "gradient_checkpointing", "start", "questions")
"""Fields of a job that do not change what is learned (`start` enters by the hash of its weights)."""


def describe(job: TrainingJob, base: Mapping[str, Scalar], optimizer: str) -> dict[str, object]:
    """The manifest of a job: everything that changes the trained weights, hashed or plain."""
    settings: dict[str, object] = {
        name: getattr(job, name)
        for name in TrainingJob.__dataclass_fields__
        if name not in (*NOT_HASHED, "examples", "batches", "adapter")
    }
    return {
        "schema": "inoc.training/1",
        "updates": len(job.batches),
        "examples": content_hash(*((e.id, e.token_ids, e.weights) for e in job.examples)),
        "batches": content_hash(job.batches),
        "adapter": json.loads(json.dumps(asdict(job.adapter))),
        "settings": {**settings, "optimizer": optimizer},
        "start": None if job.start is None or job.start.location is None else weights_hash(Path(job.start.location)),
        "base": dict(base),
    }


def claim(directory: Path, manifest: Manifest) -> None:
    """Take `directory` for this job, or check that it is the job's; remove what a killed process left unfinished.

    Raises:
        OtherSettings: The directory belongs to another training; names the fields that differ.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "manifest.json"
    if path.is_file():
        found = read_json(path)
        differing = [
            f"{field}: {found.get(field)!r} there, {manifest.get(field)!r} now"
            for field in sorted({*found, *manifest})
            if found.get(field) != manifest.get(field)
        ]
        if differing:
            raise OtherSettings(
                f"'{directory}' belongs to another training ({'; '.join(differing)}). "
                "Fix: use another directory or delete that one."
            )
    else:
        write_json(path, manifest)
    for left in directory.glob(".writing-*"):
        shutil.rmtree(left)


def write_json(path: Path, content: Mapping[str, object]) -> None:
    """Write a JSON file, complete or not at all."""
    write_atomic(path, json.dumps(content, indent=1, sort_keys=True) + "\n")


def read_json(path: Path) -> dict[str, object]:
    try:
        return cast(dict[str, object], json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"'{path}' cannot be read ({error}). Fix: delete the training's directory to start over."
        ) from None


def checkpoint_folder(directory: Path, step: int) -> Path:
    return directory / f"step-{step:05d}"


def save_state(
    directory: Path, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer, steps: list[TrainingStep]
) -> None:
    """Save what the next update depends on, after the last update of `steps`; older states are removed."""
    name = f"resume-{len(steps):05d}"

    def fill(folder: Path) -> None:
        tensors = {key: value.detach().cpu().contiguous() for key, value in weights.items()}
        save_file(tensors, folder / "weights.safetensors")
        torch.save(optimizer.state_dict(), folder / "optimizer.pt")
        write_json(folder / "state.json", {"steps": [asdict(step) for step in steps]})

    write_folder(directory / name, fill)
    for older in directory.glob("resume-*"):
        if older.name != name:
            shutil.rmtree(older)


def load_state(
    directory: Path, weights: Mapping[str, torch.Tensor], optimizer: torch.optim.Optimizer
) -> list[TrainingStep]:
    """Put the newest state into `weights` and `optimizer` and return the updates done; without a state, none."""
    states = sorted(directory.glob("resume-*"))
    if not states:
        return []
    folder = states[-1]
    saved = load_file(folder / "weights.safetensors")
    if saved.keys() != weights.keys():
        raise BadInput(
            f"'{folder}' has weights that this model does not have. Fix: delete the directory to start over."
        )
    with torch.no_grad():
        for key, value in weights.items():
            value.copy_(saved[key])
    optimizer.load_state_dict(torch.load(folder / "optimizer.pt", weights_only=True))
    rows = cast(list[dict[str, float]], read_json(folder / "state.json")["steps"])
    return [TrainingStep(int(row["step"]), row["loss"], row["learning_rate"], row["grad_norm"]) for row in rows]
