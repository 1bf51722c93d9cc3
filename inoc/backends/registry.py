"""Finding backends: inoc's own and those of other packages (entry-point group `inoc.backends`)."""

import warnings
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Final, cast

from inoc.backends.base import missing_libraries, need_libraries
from inoc.backends.protocols import Backend, Capabilities, ModelSpec
from inoc.errors import BackendUnavailable
from inoc.plugins import Plugin, Registry
from inoc.values import Scalar

REQUIRED: Final = ("capabilities", "from_spec", "identity", "check", "close")
"""What every backend class has; `tokenizer` and `context_length` may be set by its constructor."""
SHIPPED: Final[Mapping[str, str]] = {
    "local": "inoc.backends.local:LocalBackend",
    "vllm": "inoc.backends.vllm:VllmBackend",
    "openai_server": "inoc.backends.openai_server:OpenAIServerBackend",
    "openai": "inoc.backends.openai_server:OpenAIBackend",
    "tinker": "inoc.backends.tinker:TinkerBackend",
    "openweights": "inoc.backends.openweights:OpenWeightsBackend",
}


if TYPE_CHECKING:
    BackendClass = type[Backend]
else:
    BackendClass = type  # its constructor may set what the protocol asks for


def _checked(loaded: object, plugin: Plugin) -> BackendClass:
    missing = [name for name in REQUIRED if not hasattr(loaded, name)]
    if missing:
        raise TypeError(f"{plugin.target} is not a backend: it lacks {', '.join(missing)}")
    if not isinstance(getattr(loaded, "capabilities", None), Capabilities):
        raise TypeError(f"{plugin.target}.capabilities is not an inoc.backends.protocols.Capabilities")
    return cast(BackendClass, loaded)


BACKENDS: Final = Registry("inoc.backends", "backend", SHIPPED, _checked)


@dataclass(frozen=True)
class BackendInfo:
    """One discovered backend.

    Attributes:
        name: What an experiment file calls it.
        package: The distribution that brings it.
        extra: The requirement that installs its libraries; "" where the backend does not say.
        libraries: The packages it imports when it works.
        missing: Those that are not installed.
        capabilities: What it can do; None where it cannot be imported.
        error: Why it cannot be imported.
    """

    name: str
    package: str
    extra: str = ""
    libraries: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    capabilities: Capabilities | None = None
    error: str | None = None

    @property
    def usable(self) -> bool:
        """It can be imported and its libraries are installed."""
        return self.error is None and not self.missing

    def to_json(self) -> dict[str, object]:
        """The fields and `usable` as one JSON object."""
        return {**asdict(self), "usable": self.usable}


def list_backends() -> tuple[BackendInfo, ...]:
    """List the installed backends. No model library is imported.

    Returns:
        inoc's own first, then by name. One that cannot be imported is listed with its error, and a warning names
        it and its package.
    """
    return tuple(_info(name, plugin) for name, plugin in BACKENDS.plugins.items())


def load_backend(name: str, model: ModelSpec) -> Backend:
    """Make the backend of a model.

    Args:
        name: As in the experiment file.
        model: The base model and the backend's options.

    Returns:
        The backend; it loads weights when it is first used.

    Raises:
        BadInput: There is no such backend (the nearest name is suggested), or an option is wrong.
        BackendUnavailable: It cannot be imported, or a library, device or key is missing.
    """
    backend = BACKENDS.get(name)
    need_libraries(backend)
    return backend.from_spec(model)


def check_options(name: str, options: Mapping[str, Scalar]) -> None:
    """Check a backend's options without a model.

    A backend that is not installed, cannot be imported or has no `check_options` is not asked.

    Args:
        name: Of the backend.
        options: As in the experiment file.

    Raises:
        BadInput: An option does not exist or has a wrong value.
    """
    try:
        backend = BACKENDS.get(name) if BACKENDS.find(name) else None
    except BackendUnavailable:
        return
    check = getattr(backend, "check_options", None)
    if check is not None:
        check(options)


def _info(name: str, plugin: Plugin) -> BackendInfo:
    try:
        backend = BACKENDS.get(name)
    except BackendUnavailable as error:
        warnings.warn(str(error), RuntimeWarning, stacklevel=3)
        cause = error.__cause__
        return BackendInfo(name, plugin.package, error=f"{type(cause).__name__}: {cause}")
    extra, libraries = getattr(backend, "extra", ""), getattr(backend, "libraries", ())
    missing = missing_libraries(backend)
    return BackendInfo(name, plugin.package, extra, libraries, missing, backend.capabilities)
