"""What a training needs to resume after a kill: `tinker.json` in the job's directory.

Weights and optimizer state stay on the service; the file names the newest of them and all updates up to it. It is
complete or absent.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from pydantic import BaseModel, field_validator

from inoc.atomic import write_atomic
from inoc.backends.manifest import read_sealed, sealed
from inoc.backends.protocols import AdapterSettings, Checkpoint, TrainingJob, TrainingStep
from inoc.backends.tinker.adapter import OPTIMIZER, ServiceAdapter
from inoc.errors import BadInput, OtherSettings
from inoc.hashing import content_hash
from inoc.values import Scalar

FILE: Final = "tinker.json"
NOT_HASHED: Final = (
    "id", "directory", "checkpoint_steps", "resume_every", "gradient_checkpointing", "accumulation", "optimizer",
)  # fmt: skip
"""Fields of a job that do not change what the service learns."""


class Record(BaseModel):
    """The file's content. `differs` lists where the service differs from what the experiment asks for."""

    schema_name: str = "inoc.tinker/2"
    settings: dict[str, str]
    adapter: AdapterSettings
    differs: tuple[str, ...]
    optimizer: str = OPTIMIZER
    state: str | None = None
    updates: list[TrainingStep] = []
    checkpoints: dict[int, str] = {}

    @field_validator("updates", mode="before")
    @classmethod
    def _null_is_nan(cls, rows: list[dict[str, object]]) -> list[dict[str, object]]:
        """JSON has no NaN: a gradient norm that the service does not report is null."""
        return [{name: math.nan if value is None else value for name, value in row.items()} for row in rows]

    def checkpoint(self, step: int, directory: Path) -> Checkpoint:
        """A kept checkpoint; BadInput where an earlier call did not keep it."""
        if step not in self.checkpoints:
            raise BadInput(
                f"the training in '{directory}' is past update {step} and kept no checkpoint of it. "
                "Fix: delete the directory to train again."
            )
        return Checkpoint(step, self.checkpoints[step], self.adapter)


def open_record(job: TrainingJob, base: Mapping[str, Scalar], service: ServiceAdapter) -> Record:
    """The record of this job, new or of an interrupted call.

    OtherSettings where the directory belongs to a different training, BadInput where the file is damaged.
    """
    settings = fingerprints(job, base)
    path = Path(job.directory) / FILE
    if not path.exists():
        return Record(settings=settings, adapter=service.settings, differs=service.differences)
    try:
        record = Record.model_validate(read_sealed(path))
    except (BadInput, ValueError):
        raise BadInput(f"'{path}' cannot be read. Fix: restore it, or delete it to train again.") from None
    differing = [name for name in settings if record.settings.get(name) != settings[name]]
    if differing:
        raise OtherSettings(
            f"'{job.directory}' holds a training with different {', '.join(differing)}. "
            "Fix: use a new directory, or delete this one."
        )
    return record


def write_record(record: Record, directory: Path) -> None:
    """Replace the file in the job's directory."""
    write_atomic(directory / FILE, sealed(json.loads(record.model_dump_json())))


def fingerprints(job: TrainingJob, base: Mapping[str, Scalar]) -> dict[str, str]:
    """A hash per field of the job that changes what is learned, and of the base model's identity."""
    fields = {name: value for name, value in asdict(job).items() if name not in NOT_HASHED}
    return {name: content_hash(value) for name, value in {**fields, "base": dict(base)}.items()}
