"""Models in local folders: found by the name in an experiment, and identified by their weights."""

from hashlib import sha256
from pathlib import Path

from inoc.errors import BadInput
from inoc.hashing import file_hash


def model_folder(id: str) -> Path | None:
    """The folder of a model: "testbed" or a local directory; None for a hub name.

    Args:
        id: The model as the experiment names it.

    Raises:
        BadInput: It is neither a directory nor a hub name of the form owner/model.
    """
    if id == "testbed":
        from inoc.testbed import model_path

        return model_path()
    folder = Path(id).expanduser()
    if folder.is_dir():
        return folder
    if id.startswith((".", "/", "~")) or id.count("/") != 1:
        raise BadInput(
            f"there is no model directory '{id}'. Fix: name a directory or a hub model of the form owner/model."
        )
    return None


def weights_hash(folder: Path) -> str:
    """sha256 over the names and sha256 sums of the safetensors files, in name order.

    A file of the hub cache is a link to a blob that is named by its sha256: that name is used, so that 15 GB are not
    read again.

    Raises:
        BadInput: There are no such files.
    """
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise BadInput(
            f"'{folder}' has no safetensors weights. Fix: convert pickled weights, which inoc never loads."
        )
    total = sha256()
    for file in files:
        blob = file.resolve().name if file.is_symlink() else ""
        known = len(blob) == 64 and all(c in "0123456789abcdef" for c in blob)
        total.update(f"{file.name} {blob if known else file_hash(file)}\n".encode())
    return total.hexdigest()
