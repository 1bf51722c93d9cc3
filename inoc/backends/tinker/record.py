"""What is kept beside a training so that it goes on after a kill: `tinker.json` in the job's directory.

The weights and the optimiser's state stay on the service; the file names the newest of them and all updates before
it. It is written beside, flushed and renamed: a file that is there is whole.
"""

import json
import math
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Final

from pydantic import BaseModel

from inoc.backends.protocols import AdapterSettings, Checkpoint, TrainingJob, TrainingStep
from inoc.backends.tinker.adapter import OPTIMIZER, ServiceAdapter
from inoc.backends.training import write_whole
from inoc.errors import BadInput, OtherSettings
from inoc.values import Scalar

FILE: Final = "tinker.json"
NOT_HASHED: Final = (
    "id", "directory", "checkpoint_steps", "resume_every", "gradient_checkpointing", "accumulation", "optimizer",
)  # fmt: skip
"""Fields of a job that do not change what the service learns."""


class Update(BaseModel):
    """One optimiser update; a gradient norm the service does not tell is null."""

    step: int
    loss: float
    learning_rate: float
    grad_norm: float | None = None


class Record(BaseModel):
    """The file's content. `differs` lists what the service does otherwise than the experiment asked for."""

    schema_name: str = "inoc.tinker/1"
    settings: dict[str, str]
    adapter: AdapterSettings
    differs: tuple[str, ...]
    optimizer: str = OPTIMIZER
    state: str | None = None
    updates: list[Update] = []
    checkpoints: dict[int, str] = {}

    def steps(self) -> list[TrainingStep]:
        """The updates up to the saved state."""
        return [
            TrainingStep(
                row.step, row.loss, row.learning_rate, math.nan if row.grad_norm is None else row.grad_norm
            )
            for row in self.updates
        ]

    def add(self, step: TrainingStep) -> None:
        norm = None if math.isnan(step.grad_norm) else step.grad_norm
        self.updates.append(
            Update(step=step.step, loss=step.loss, learning_rate=step.learning_rate, grad_norm=norm)
        )

    def checkpoint(self, step: int, directory: Path) -> Checkpoint:
        """A kept checkpoint; BadInput where an earlier call did not keep it."""
        if step not in self.checkpoints:
            raise BadInput(
                f"no checkpoint of update {step} was kept although the training is past it; delete "
                f"'{directory}' to train anew."
            )
        return Checkpoint(step, self.checkpoints[step], self.adapter)


def open_record(job: TrainingJob, base: Mapping[str, Scalar], service: ServiceAdapter) -> Record:
    """The record of this job, new or of an interrupted call.

    Raises:
        OtherSettings: the directory holds another training; names what differs.
        BadInput: the file is damaged.
    """
    settings = fingerprints(job, base)
    path = Path(job.directory) / FILE
    if not path.exists():
        return Record(settings=settings, adapter=service.settings, differs=service.differences)
    try:
        record = Record.model_validate_json(path.read_bytes())
    except ValueError:
        raise BadInput(f"'{path}' cannot be read; restore it, or delete it to train anew.") from None
    differing = [name for name in settings if record.settings.get(name) != settings[name]]
    if differing:
        raise OtherSettings(
            f"'{job.directory}' holds another training (other {', '.join(differing)}); give this one a directory "
            "of its own or delete that one."
        )
    return record


def write_record(record: Record, directory: Path) -> None:
    """Write the record, whole or not at all."""
    write_whole(directory / FILE, record.model_dump_json(indent=1))


def fingerprints(job: TrainingJob, base: Mapping[str, Scalar]) -> dict[str, str]:
    """A hash per field of the job that changes what is learned, and of the base model's identity."""
    fields = {name: getattr(job, name) for name in TrainingJob.__dataclass_fields__ if name not in NOT_HASHED}
    fields["base"] = dict(base)
    return {
        name: sha256(json.dumps(value, default=_plain, sort_keys=True).encode()).hexdigest()[:16]
        for name, value in fields.items()
    }


def _plain(value: object) -> object:
    return vars(value)
