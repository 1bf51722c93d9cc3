"""What a training keeps on disk: its manifest, its checkpoints, and the state it resumes from.

    <directory>/manifest.json        what is trained: job hash, base model, adapter settings, optimizer
    <directory>/step-00050/          manifest.json, adapter_config.json, adapter_model.safetensors (or a model)
    <directory>/resume-00050/        manifest.json, state.json, what the trainer needs: the newest one only

Files and folders are written by `inoc.atomic`: one that exists is complete. The manifest of a folder has the hashes of
its files, which are verified when it is loaded (`inoc.backends.manifest`).
"""

import json
import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple, cast

from inoc.atomic import write_folder
from inoc.backends.manifest import MANIFEST, Manifest, read_object, seal, verify, write_json
from inoc.backends.model_files import weights_hash
from inoc.backends.protocols import Checkpoint, TrainingJob, TrainingStep
from inoc.errors import BadInput, OtherSettings
from inoc.hashing import content_hash, file_hash
from inoc.values import Scalar

NOT_HASHED = ("id", "directory", "checkpoint_steps", "resume_every", "gradient_checkpointing", "start", "questions")
"""Fields of a job that do not change what is learned (`start` enters by the hash of its weights)."""


def describe(job: TrainingJob, base: Mapping[str, Scalar], optimizer: str) -> dict[str, object]:
    """The manifest of a job: everything that changes the trained weights, hashed or plain."""
    start = job.start
    settings: dict[str, object] = {
        name: getattr(job, name)
        for name in TrainingJob.__dataclass_fields__
        if name not in (*NOT_HASHED, "examples", "batches", "adapter")
    }
    return {
        "schema": "inoc.training/2",
        "updates": len(job.batches),
        "examples": content_hash(*((e.id, e.token_ids, e.weights) for e in job.examples)),
        "batches": content_hash(job.batches),
        "adapter": json.loads(json.dumps(asdict(job.adapter))),
        "settings": {**settings, "optimizer": optimizer},
        "start": start and start.location and (start.content or weights_hash(Path(start.location))),
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
        found = read_object(path)
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


def save_checkpoint(job: TrainingJob, step: int, fill: Callable[[Path], None], manifest: Manifest) -> None:
    """Keep a checkpoint, whose files `fill` writes, as a folder with its manifest."""

    def whole(folder: Path) -> None:
        fill(folder)
        seal(folder, {**manifest, "step": step, "job": job.id})

    write_folder(_checkpoint_folder(job, step), whole)


def stored_checkpoint(job: TrainingJob, step: int, manifest: Manifest) -> Checkpoint:
    """A kept checkpoint of this job, its files verified; BadInput where it is missing, damaged or another job's."""
    folder = _checkpoint_folder(job, step)
    if not folder.exists():
        raise BadInput(
            f"'{folder}' is missing although training '{job.id}' is past update {step}. "
            f"Fix: delete '{job.directory}' to train again."
        )
    _verify(folder, {**manifest, "step": step})
    return Checkpoint(step, str(folder), job.adapter, file_hash(folder / MANIFEST))


def _checkpoint_folder(job: TrainingJob, step: int) -> Path:
    return Path(job.directory) / f"step-{step:05d}"


def _verify(folder: Path, about: Manifest) -> None:
    """BadInput unless every file of a folder is as it was written, by the job that `about` describes."""
    found = verify(folder) or {}
    if any(found.get(name) != value for name, value in about.items()):
        raise BadInput(
            f"'{folder}' is of another training or update than its place says. "
            f"Fix: delete '{folder.parent}' to train again."
        )


class State(NamedTuple):
    """The newest state of a training: the folder that holds it, and the updates done."""

    folder: Path
    steps: list[TrainingStep]


def keep_state(
    directory: Path, steps: Sequence[TrainingStep], fill: Callable[[Path], None], manifest: Manifest
) -> None:
    """Keep what `fill` writes as the state after `steps`; older states are removed."""
    name = f"resume-{len(steps):05d}"

    def whole(folder: Path) -> None:
        fill(folder)
        rows = [asdict(step) for step in steps]  # JSON has no NaN: what a trainer does not know is null
        write_json(folder / "state.json", {"steps": [{k: None if v != v else v for k, v in r.items()} for r in rows]})
        seal(folder, {**manifest, "step": len(steps)})

    write_folder(directory / name, whole)
    for older in directory.glob("resume-*"):
        if older.name != name:
            shutil.rmtree(older)


def newest_state(directory: Path, manifest: Manifest) -> State | None:
    """The newest state, its files verified; None without one, BadInput where it is damaged or another job's."""
    states = sorted(directory.glob("resume-*"))
    if not states:
        return None
    folder = states[-1]
    _verify(folder, {**manifest, "step": int(folder.name.removeprefix("resume-"))})
    rows = cast(list[dict[str, float | None]], read_object(folder / "state.json")["steps"])
    known = [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]
    return State(folder, [TrainingStep(int(r["step"]), r["loss"], r["learning_rate"], r["grad_norm"]) for r in known])
