"""Folders as single files: inoc's source, models, adapters. The same content gives the same bytes."""

import io
import zipfile
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Final

from inoc.atomic import write_folder
from inoc.errors import BadResult

SOURCE: Final = (
    "__init__.py",
    "_version.py",
    "atomic.py",
    "errors.py",
    "hashing.py",
    "names.py",
    "options.py",
    "plugins.py",
    "reading.py",
    "values.py",
    "backends/*.py",
    "backends/local/*.py",
    "backends/openweights/*.py",
)
"""The part of inoc that runs on a worker; it imports nothing else of inoc."""


def make_zip(entries: Iterable[tuple[str, bytes]], *, compress: bool = True) -> bytes:
    """An archive with fixed times and modes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in entries:
            info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)
    return buffer.getvalue()


def zip_source() -> bytes:
    """The part of the installed inoc that a worker needs; Python imports from the archive."""
    root = Path(__file__).parents[2]
    files = sorted({file for pattern in SOURCE for file in root.glob(pattern)})
    return make_zip((f"inoc/{file.relative_to(root).as_posix()}", file.read_bytes()) for file in files)


def prepare_script() -> bytes:
    """The file that runs before inoc can be imported on a worker."""
    return Path(__file__).with_name("prepare.py").read_bytes()


def zip_folder(folder: Path, inside: str = "") -> bytes:
    """The files of a folder (not of folders in it), in name order, below `inside`."""
    files = sorted(file for file in folder.iterdir() if file.is_file() and not file.name.startswith("."))
    prefix = f"{inside}/" if inside else ""
    return make_zip(((f"{prefix}{file.name}", file.read_bytes()) for file in files), compress=False)


def unzip(content: bytes, target: Path) -> None:
    """Unpack into a folder that is complete or absent, replacing it; BadResult for a damaged or unsafe archive."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for name in archive.namelist():
                parts = PurePosixPath(name).parts
                if not parts or name.startswith("/") or "\\" in name or ".." in parts:
                    raise BadResult(f"the archive for '{target}' names a file outside its folder: {name!r}.")
            write_folder(target, archive.extractall)
    except (zipfile.BadZipFile, EOFError, OSError) as error:
        raise BadResult(f"the archive for '{target}' is damaged ({error}).") from None
