"""What a stage needs of a backend."""

from typing import Literal, TypeVar

from inoc.backends.protocols import Backend
from inoc.errors import BackendRejected

Able = TypeVar("Able")
Ability = Literal["score", "sample", "train", "embed", "probe"]


def capable(backend: Backend, protocol: type[Able], ability: Ability) -> Able:
    """The backend as one that implements the protocol; BackendRejected where it does not."""
    if not getattr(backend.capabilities, ability) or not isinstance(backend, protocol):
        raise BackendRejected(
            f"the backend {backend.name!r} cannot {ability}. Fix: choose one that can (`inoc backends`)."
        )
    return backend
