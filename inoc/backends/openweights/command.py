"""What a worker runs: the image, what pip adds to it, the shell line."""

import shlex
from typing import Final, Literal

from inoc.backends.openweights.options import DEFAULT_INSTALL, DEV_IMAGE, Options

Kind = Literal["score", "sample", "embed", "train"]
SOURCE: Final = "inoc.zip"
PREPARE: Final = "prepare.py"
REQUESTS: Final = "requests.npz"
QUESTIONS: Final = "questions.npz"
FILES: Final = ".files.zip"
"""A mounted archive with this ending is unpacked into a folder of its name before the work starts."""


def image_of(options: Options) -> str:
    """The container image of the jobs: the option, else the client's image for training."""
    if options.base_image:
        return options.base_image
    from inoc.backends.openweights.client import Jobs

    return Jobs.base_image


def install_line(options: Options) -> str:
    """What pip installs before a job: by default nothing on a worker that was started by hand."""
    if options.install is not None:
        return options.install
    return "" if image_of(options) == DEV_IMAGE else DEFAULT_INSTALL


def entrypoint(kind: Kind, asks: bool, options: Options) -> str:
    """The shell line: install, then run inoc from the mounted archive; questions in a separate process."""
    install = install_line(options)
    python = "env/bin/python" if install else "python"
    run = f'PYTHONPATH="$PWD/{SOURCE}:$PYTHONPATH" {python} -m inoc.backends.openweights.worker'
    often = f"{options.upload_every} {options.resume_every} {options.resume_mb}"
    parts = [f"{run} {each} {often}" for each in (kind, *(["answer"] if asks else []))]
    if install:
        parts.insert(0, f"python {PREPARE} " + " ".join(shlex.quote(part) for part in install.split()))
    return " && ".join(parts)
