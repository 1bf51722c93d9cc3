"""`openweights.json` beside a training: which job on the server it is."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, cast

from inoc.backends.protocols import TrainingJob
from inoc.backends.training import write_whole
from inoc.errors import BadInput, OtherSettings

RECORD: Final = "openweights.json"
SCHEMA: Final = "inoc.openweights/1"


@dataclass(frozen=True)
class Record:
    """What `openweights.json` says: the job, and hashes of the training, its questions, and the image with what is
    installed there."""

    job: str
    content: str
    questions: str
    choice: str


def claim(job: TrainingJob, record: Record) -> Record | None:
    """Make sure that the directory is this training's or nobody's. Returns what it says of an earlier call.

    Raises:
        OtherSettings: it holds another training.
    """
    directory = Path(job.directory)
    path = directory / RECORD
    if not path.exists():
        if (directory / "manifest.json").exists():
            raise OtherSettings(
                f"'{directory}' holds a training of another backend; give this one a directory of its own or "
                "delete that one."
            )
        return None
    found = read_record(path)
    if found.content != record.content:
        raise OtherSettings(
            f"'{directory}' holds another training; give this one a directory of its own or delete that one."
        )
    return found


def write_record(job: TrainingJob, record: Record) -> None:
    """Note the job beside the training."""
    text = json.dumps({"schema": SCHEMA, **asdict(record)}, indent=1) + "\n"
    write_whole(Path(job.directory) / RECORD, text)


def read_record(path: Path) -> Record:
    """BadInput where it is damaged."""
    try:
        fields = cast(dict[str, str], json.loads(path.read_text()))
        return Record(fields["job"], fields["content"], fields["questions"], fields["choice"])
    except (OSError, ValueError, KeyError, TypeError):
        raise BadInput(
            f"'{path}' cannot be read; restore it, or delete it to fetch the training anew."
        ) from None
