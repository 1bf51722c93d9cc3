"""Errors nobody foresaw: one sentence, the plugin that failed, and the traceback in a file."""

import platform
import tempfile
import traceback
from collections.abc import Sequence

from inoc._version import __version__


def explained(error: BaseException, arguments: Sequence[str], debug: bool) -> str:
    """The sentence for an error that is not an InocError: what failed, where its traceback is (a file, or stderr with
    `debug`), and the fix."""
    what = _named(error)
    if debug:
        traceback.print_exception(error)
        return f"{what} Fix: report it with the traceback above."
    versions = f"inoc {__version__}, Python {platform.python_version()}, {platform.platform()}"
    text = "\n".join([versions, f"inoc {' '.join(arguments)}", "", *traceback.format_exception(error)])
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="inoc-", suffix=".log", delete=False, encoding="utf-8", errors="backslashreplace"
        ) as file:
            file.write(text)
    except OSError:
        return f"{what} Fix: run it again with --debug, which prints the traceback, and report it."
    return f"{what} Its traceback is in {file.name}. Fix: report it with that file."


def _named(error: BaseException) -> str:
    """What failed, in one sentence: a file, a plugin or inoc itself."""
    first = (str(error).strip() or "no message").splitlines()[0][:300]
    said = f"({type(error).__name__}: {first})."
    if plugin := _plugin(error):
        return f"{plugin} failed {said}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror}."
    return f"an error that nobody foresaw {said}"


def _plugin(error: BaseException) -> str | None:
    """Package, version and method of the plugin inoc called when the error arose; None for inoc's own errors."""
    from inoc.plugins import origin

    for frame, _ in traceback.walk_tb(error.__traceback__):
        plugin = origin(str(frame.f_globals.get("__name__", "")))
        if plugin is not None:
            return f"{frame.f_code.co_qualname} of the plugin {plugin}"
    return None
