"""`openweights.json` in a training's directory: which job on the server it is."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

from inoc.atomic import write_atomic
from inoc.backends.manifest import read_sealed, sealed
from inoc.backends.protocols import TrainingJob
from inoc.errors import BadInput, OtherSettings

RECORD: Final = "openweights.json"
SCHEMA: Final = "inoc.openweights/2"


@dataclass(frozen=True)
class Record:
    """The file: the job, and hashes of the training, its questions, and the image with what is installed there."""

    job: str
    content: str
    questions: str
    choice: str


def claim(job: TrainingJob, record: Record) -> Record | None:
    """The record of an earlier call in the directory, if any; OtherSettings for a different training's."""
    directory = Path(job.directory)
    path = directory / RECORD
    if not path.exists():
        if (directory / "manifest.json").exists():
            raise OtherSettings(
                f"'{directory}' holds a training of a different backend. Fix: use a new directory, or delete this one."
            )
        return None
    found = read_record(path)
    if found.content != record.content:
        raise OtherSettings(f"'{directory}' holds a different training. Fix: use a new directory, or delete this one.")
    return found


def write_record(job: TrainingJob, record: Record) -> None:
    """Write the file into the training's directory."""
    write_atomic(Path(job.directory) / RECORD, sealed({"schema": SCHEMA, **asdict(record)}))


def read_record(path: Path) -> Record:
    """The content of the file; BadInput where it is damaged."""
    try:
        fields = cast(Mapping[str, str], read_sealed(path))
        return Record(fields["job"], fields["content"], fields["questions"], fields["choice"])
    except (BadInput, KeyError):
        raise BadInput(f"'{path}' cannot be read. Fix: restore it, or delete it to fetch the training again.") from None
