"""`inoc` in this process, as the command line calls it."""

import io
import os
import sys
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

from inoc.cli import main


def with_path(folder: Path) -> dict[str, str]:
    """The environment of a process that finds packages in `folder`, and first in what this process was told to use."""
    known = os.environ.get("PYTHONPATH")
    return {**os.environ, "PYTHONPATH": os.pathsep.join([*([known] if known else []), str(folder)])}


def run_inoc(*words: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `inoc` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["inoc", *map(str, words)])
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
            main()
    return int(end.value.code or 0), out.getvalue(), err.getvalue()
