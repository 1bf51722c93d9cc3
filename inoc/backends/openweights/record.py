"""`openweights.json` in a training's directory: which job on the server it is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

from inoc.atomic import write_atomic
from inoc.backends.protocols import TrainingJob
from inoc.errors import BadInput, OtherSettings
from inoc.reading import read_json

RECORD: Final = "openweights.json"
SCHEMA: Final = "inoc.openweights/1"


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
    text = json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1) + "\n"
    write_atomic(Path(job.directory) / RECORD, text)


def read_record(path: Path) -> Record:
    """The content of the file; BadInput where it is damaged."""
    try:
        fields = cast(dict[str, str], read_json(path))
        return Record(fields["job"], fields["content"], fields["questions"], fields["choice"])
    except (BadInput, KeyError, TypeError):
        raise BadInput(f"'{path}' cannot be read. Fix: restore it, or delete it to fetch the training again.") from None
