"""The record of a finished run: where its checkpoints are, and the settings that made them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final, cast

from pydantic import TypeAdapter, ValidationError

from inoc.backends.manifest import read_sealed, sealed
from inoc.backends.protocols import Checkpoint
from inoc.errors import BadInput
from inoc.stages.work import write_whole

RECORD: Final = "trained.json"
SCHEMA: Final = "inoc.trained/2"


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
        """The checkpoint of an update; None for step 0, the base model. BadInput for one that was not kept."""
        found = next((c for c in self.checkpoints if c.step == step), None)
        if found is None and step > 0:
            raise BadInput(f"run {self.run} kept no checkpoint of update {step}. Fix: train it again under a new tag.")
        return found


def read_record(folder: Path) -> Trained | None:
    """The record in a run's folder; None while the run is not finished.

    A checkpoint in the run's folder is recorded by its name there: a study that was moved or copied uses its own.
    """
    path = folder / RECORD
    if not path.exists():
        return None
    try:
        content = path.read_bytes()
        if b'"inoc.trained/' in content or b'"sha256"' in content:
            fields = {name: value for name, value in read_sealed(path).items() if name != "schema"}
            record, placed = TypeAdapter(Trained).validate_python(fields), _placed
        else:  # of an earlier version, which knew neither hashes nor relative places
            record = TypeAdapter(Trained).validate_json(content.replace(b'"recipe": {', b'"adapter": {'))
            placed = _found
        return replace(record, checkpoints=tuple(placed(folder, point) for point in record.checkpoints))
    except ValidationError as error:
        why = f"{error.error_count()} fields"
    except (OSError, ValueError) as error:
        why = str(error)
    except BadInput:
        why = "it differs from its own hash, or is not JSON"
    raise BadInput(f"{path} is damaged ({why}). Fix: restore it, or delete it and run `inoc train` again.")


def write_record(folder: Path, trained: Trained) -> None:
    """The run is finished."""
    fields = asdict(trained)
    for point in cast("list[dict[str, object]]", fields["checkpoints"]):
        place = Path(str(point["location"]))
        if place.is_dir() and place.resolve().is_relative_to(folder.resolve()):
            point["location"] = f"./{place.resolve().relative_to(folder.resolve()).as_posix()}"
    write_whole(folder / RECORD, sealed({"schema": SCHEMA, **fields}))


def _placed(folder: Path, point: Checkpoint) -> Checkpoint:
    """A checkpoint of the run's folder where that is now; ValueError for one that is recorded outside it."""
    if point.location is None or not point.location.startswith("./"):
        return point
    inside = folder / point.location
    if not inside.resolve().is_relative_to(folder.resolve()):
        raise ValueError(f"the checkpoint of update {point.step} is outside the run's folder")
    return replace(point, location=str(inside))


def _found(folder: Path, point: Checkpoint) -> Checkpoint:
    """A checkpoint that was recorded with its full path: the folder of this name in the run's folder, if there is."""
    inside = folder / Path(str(point.location)).name
    return replace(point, location=str(inside)) if point.location is not None and inside.is_dir() else point
