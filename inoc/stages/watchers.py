"""Watchers beside the command line: events of long work to a file or a tracker (group `inoc.watchers`). Off unless
asked for. Trackers get names of runs, steps and numbers, and nothing else: no texts, notes, settings or paths."""

import importlib
import json
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, cast, runtime_checkable

from inoc.errors import BackendUnavailable, BadInput
from inoc.plugins import Plugin, Registry
from inoc.stages.progress import Unwatched, Watcher


@runtime_checkable
class OpenWatcher(Watcher, Protocol):
    """A watcher that is closed when the command ends."""

    def close(self) -> None:
        """The command ends."""
        ...


class JsonLines(Unwatched):
    """A line for every event, appended to a file: `--watch jsonl=FILE`."""

    def __init__(self, spec: str) -> None:
        try:
            self._file = Path(spec or "events.jsonl").open("a", encoding="utf-8")  # noqa: SIM115
        except OSError as error:
            raise BadInput(f"{spec} cannot be written ({error.strerror}). Fix: --watch jsonl=FILE.") from error

    def _line(self, event: str, **fields: object) -> None:
        print(json.dumps({"time": round(time.time(), 3), "event": event, **fields}), file=self._file, flush=True)

    def begin(self, what: str, total: int, tokens: int = 0) -> None:
        self._line("begin", what=what, total=total, tokens=tokens)

    def step(self, name: str, detail: str = "") -> None:
        self._line("step", name=name, detail=detail)

    def note(self, text: str) -> None:
        self._line("note", text=text)

    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None:
        known = {key: None if value != value else value for key, value in values.items()}
        self._line("measure", name=name, step=step, values=known)

    def close(self) -> None:
        self._file.close()


class Numbers(Unwatched):
    """What trackers share: the progress of every stage is a measure, too: the share of the units that is done."""

    _what, _done, _total = "", 0, 0

    def begin(self, what: str, total: int, tokens: int = 0) -> None:
        self._what, self._done, self._total = what, 0, total

    def step(self, name: str, detail: str = "") -> None:
        self._done += 1
        share = self._done / max(self._done, self._total)
        self.measure(f"progress/{self._what}", self._done, {"share": share})


class TensorBoard(Numbers):
    """Scalars NAME/VALUE for TensorBoard: `--watch tensorboard=FOLDER`; needs torch and tensorboard."""

    def __init__(self, spec: str) -> None:
        self._writer = _library("torch.utils.tensorboard", "tensorboard").SummaryWriter(spec or "runs")

    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None:
        for key, value in values.items():
            self._writer.add_scalar(f"{name}/{key}", value, step)

    def close(self) -> None:
        self._writer.close()


class Tracker(Numbers):
    """Metrics of Weights & Biases or trackio, whose calls are the same: `--watch wandb=PROJECT`. Accounts, keys and
    servers are the library's own settings."""

    library = ""

    def __init__(self, spec: str) -> None:
        self._library = _library(self.library, self.library)
        self._library.init(project=spec or "inoc")

    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None:
        self._library.log({**{f"{name}/{key}": value for key, value in values.items()}, f"{name}/step": step})

    def close(self) -> None:
        self._library.finish()


class Wandb(Tracker):
    """Weights & Biases."""

    library = "wandb"


class Trackio(Tracker):
    """trackio."""

    library = "trackio"


def _library(module: str, package: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise BackendUnavailable(f"the watcher needs {package}. Fix: pip install {package}.") from error


SHIPPED: Final = {
    "jsonl": f"{__name__}:JsonLines",
    "tensorboard": f"{__name__}:TensorBoard",
    "trackio": f"{__name__}:Trackio",
    "wandb": f"{__name__}:Wandb",
}


def _factory(loaded: object, plugin: Plugin) -> Callable[[str], OpenWatcher]:
    if not callable(loaded):
        raise TypeError(f"{plugin.target} is not a function (spec) -> watcher")
    return cast("Callable[[str], OpenWatcher]", loaded)


WATCHERS: Final = Registry("inoc.watchers", "watcher", SHIPPED, _factory)


class Together:
    """The watchers that were asked for as `NAME` or `NAME=SPEC`, where NAME may be `module:factory`; one that fails
    is left out with one warning. BadInput where there is none of that name, BackendUnavailable where it cannot work
    here."""

    def __init__(self, wanted: Sequence[str]) -> None:
        parts = {text: text.partition("=") for text in wanted}
        self._watchers = {text: WATCHERS.get(name)(spec) for text, (name, _, spec) in parts.items()}

    def begin(self, what: str, total: int, tokens: int = 0) -> None:
        self._tell("begin", what, total, tokens)

    def advance(self, tokens: int) -> None:
        self._tell("advance", tokens)

    def step(self, name: str, detail: str = "") -> None:
        self._tell("step", name, detail)

    def note(self, text: str) -> None:
        self._tell("note", text)

    def measure(self, name: str, step: int, values: Mapping[str, float]) -> None:
        self._tell("measure", name, step, values)

    def close(self) -> None:
        self._tell("close")

    def _tell(self, method: str, *arguments: object) -> None:
        for name, watcher in list(self._watchers.items()):
            try:
                getattr(watcher, method)(*arguments)
            except Exception as error:
                del self._watchers[name]
                said = f"watcher {name!r} failed and is left out: {type(error).__name__}: {error}."
                warnings.warn(f"{said} Fix: repair it, or leave out --watch.", RuntimeWarning, stacklevel=2)
