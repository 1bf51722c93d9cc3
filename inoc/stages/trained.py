"""The record of a finished run: where its checkpoints are, and the settings that made them."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from inoc.backends.protocols import Checkpoint
from inoc.errors import BadInput
from inoc.stages.work import write_whole


@dataclass(frozen=True)
class Trained:
    """What a finished run left behind: its checkpoints by update, and the settings that decided the result, by field
    (empty in records of earlier versions, which held a hash only)."""

    run: str
    updates: int
    checkpoints: tuple[Checkpoint, ...]
    identity: Mapping[str, object] = field(default_factory=dict[str, object])

    @property
    def last(self) -> Checkpoint:
        """The checkpoint of the last update."""
        return max(self.checkpoints, key=lambda checkpoint: checkpoint.step)

    def at(self, step: int) -> Checkpoint | None:
        """The checkpoint of an update; None for step 0, the base model."""
        return next((c for c in self.checkpoints if c.step == step), None)


def read_record(folder: Path) -> Trained | None:
    """The record in a run's folder; None while the run is not finished."""
    path = folder / "trained.json"
    if not path.exists():
        return None
    content = path.read_bytes().replace(b'"recipe": {', b'"adapter": {')  # as earlier versions wrote it
    try:
        return TypeAdapter(Trained).validate_json(content)
    except ValidationError as error:
        raise BadInput(
            f"{path} is damaged ({error.error_count()} fields). Fix: delete it and train the run again."
        ) from None


def write_record(folder: Path, trained: Trained) -> None:
    """The run is finished."""
    write_whole(folder / "trained.json", json.dumps(asdict(trained), indent=1))
