"""Finding backends: entry points of the group `inoc.backends`, ours and anybody's. Nothing heavy is
imported."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import NamedTuple, cast

from inoc.backends.protocols import Backend, Capabilities, ModelSpec
from inoc.errors import BackendUnavailable, BadInput
from inoc.values import Scalar

GROUP = "inoc.backends"
REQUIRED = ("capabilities", "from_spec", "identity", "check", "close")
"""What every backend class has; `tokenizer` and `context_length` may be set by its constructor."""

# shipped backend -> (extra to install, libraries it needs)
SHIPPED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "local": ("local", ("torch", "transformers")),
    "vllm": ("vllm", ("vllm",)),
    "openai_server": ("openai", ("openai",)),
    "openai": ("openai", ("openai",)),
    "tinker": ("tinker", ("tinker",)),
    "openweights": ("openweights", ("openweights",)),
}


@dataclass(frozen=True)
class BackendInfo:
    """One discovered backend.

    Attributes:
        name: what an experiment file says.
        package: the distribution that brings it.
        extra: what to install where libraries are missing, as pip is told; "" for other people's backends.
        missing: libraries that are not installed.
        capabilities: None where importing it failed.
        error: why importing it failed.
    """

    name: str
    package: str
    extra: str = ""
    missing: tuple[str, ...] = ()
    capabilities: Capabilities | None = None
    error: str | None = None

    @property
    def usable(self) -> bool:
        """Nothing is known to stand in its way."""
        return self.error is None and not self.missing

    def to_json(self) -> dict[str, object]:
        """As one JSON object."""
        return {**asdict(self), "usable": self.usable}


def list_backends() -> tuple[BackendInfo, ...]:
    """All backends, shipped ones first, then by name. One that fails to import is listed with its error and
    warned about by name; it stops nothing."""
    order = list(SHIPPED)
    points = sorted(
        _points().values(), key=lambda p: (order.index(p.name) if p.name in order else 99, p.name)
    )
    infos = tuple(_info(point) for point in points)
    for info in infos:
        if info.error is not None:
            message = f"backend {info.name!r} of {info.package} cannot be imported: {info.error}"
            warnings.warn(message, stacklevel=2)
    return infos


def load_backend(name: str, model: ModelSpec) -> Backend:
    """The backend of this name for this model.

    Raises:
        BadInput: no such backend; the message lists what is installed.
        BackendUnavailable: it is known and cannot be used here; the message says what to install.
    """
    point = _points().get(name)
    if point is None:
        import difflib

        known = ", ".join(_points())
        near = difflib.get_close_matches(name, _points(), n=1)
        hint = f" Did you mean {near[0]!r}?" if near else ""
        raise BadInput(
            f"no backend is named {name!r}.{hint} Installed: {known}. Others come with their package (entry "
            f"point group {GROUP!r}); `inoc backends` lists what each needs."
        )
    info = _info(point)
    if info.missing:
        raise BackendUnavailable(
            f"the backend {name!r} needs {' and '.join(info.missing)}; install with: pip install "
            f"'{info.extra}'."
        )
    if info.error is not None:
        raise BackendUnavailable(f"the backend {name!r} of {info.package} cannot be imported: {info.error}.")
    return cast(type[Backend], _load(point)).from_spec(model)


def check_options(name: str, options: Mapping[str, Scalar]) -> None:
    """BadInput for options that the backend does not take, where it can say so before it is used.

    A backend that is not installed, or has no `check_options`, says nothing.
    """
    point = _points().get(name)
    if point is None or _info(point).error is not None:
        return
    check = getattr(_load(point), "check_options", None)
    if check is not None:
        check(options)


class _Point(NamedTuple):
    """An entry point and the distribution that brings it."""

    name: str
    value: str
    package: str


def _points() -> dict[str, _Point]:
    """Entry point by name. Of two with one name ours wins, then the first; the other is warned about."""
    found: dict[str, _Point] = {}
    points = [
        _Point(point.name, point.value, point.dist.name if point.dist is not None else point.module)
        for point in entry_points(group=GROUP)
    ]
    for point in sorted(points, key=lambda point: not point.value.startswith("inoc.backends.")):
        first = found.setdefault(point.name, point)
        if first.value != point.value:
            message = (
                f"backend {point.name!r} of {point.package} is ignored: {first.package} has one of that name."
            )
            warnings.warn(message, stacklevel=2)
    return found


def _load(point: _Point) -> object:
    """Import the backend's class; TypeError where it is none."""
    found = cast(object, EntryPoint(point.name, point.value, GROUP).load())
    lacking = [name for name in REQUIRED if not hasattr(found, name)]
    if lacking:
        raise TypeError(f"{point.value} is no backend: it lacks {', '.join(lacking)}")
    if not isinstance(getattr(found, "capabilities", None), Capabilities):
        raise TypeError(f"{point.value}.capabilities is no inoc.backends.protocols.Capabilities")
    return found


def _info(point: _Point) -> BackendInfo:
    extra, libraries = SHIPPED.get(point.name, ("", ())) if point.package == "inoc" else ("", ())
    missing = tuple(library for library in libraries if find_spec(library) is None)
    capabilities, error = None, None
    try:
        capabilities = cast(type[Backend], _load(point)).capabilities
    except ImportError as caught:
        error = None if missing else f"{type(caught).__name__}: {caught}"
    except Exception as caught:  # whatever a plugin raises must not stop the others
        error = f"{type(caught).__name__}: {caught}"
    return BackendInfo(
        point.name, point.package, f"inoc[{extra}]" if extra else "", missing, capabilities, error
    )
