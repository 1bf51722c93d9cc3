"""The only place that imports the `openweights` client: late, quietly, and with the types that inoc uses."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar, cast, runtime_checkable

Row = Mapping[str, object]
T = TypeVar("T")


@runtime_checkable
class Reply(Protocol):
    data: list[Row]


@runtime_checkable
class Query(Protocol):
    """A request to a table, built call by call."""

    def eq(self, column: str, value: object) -> "Query": ...
    def in_(self, column: str, values: Sequence[object]) -> "Query": ...
    def contains(self, column: str, value: Mapping[str, object]) -> "Query": ...
    def order(self, column: str, *, desc: bool = False) -> "Query": ...
    def range(self, start: int, end: int) -> "Query": ...
    def execute(self) -> Reply: ...


@runtime_checkable
class Table(Protocol):
    def select(self, columns: str) -> Query: ...
    def update(self, row: dict[str, object]) -> Query: ...


# a library that it imports takes over the root logger
_root = logging.getLogger()
_handlers, _level = list(_root.handlers), _root.level
from httpx import HTTPError  # noqa: E402
from openweights import Jobs, OpenWeights  # noqa: E402
from openweights.client import ApiTokenError  # noqa: E402
from openweights.client.jobs import Job  # noqa: E402
from postgrest.exceptions import APIError  # noqa: E402
from storage3.exceptions import StorageException  # noqa: E402

_root.handlers[:] = _handlers
_root.setLevel(_level)

__all__ = [
    "APIError", "ApiTokenError", "HTTPError", "Job", "Jobs", "OpenWeights", "Row", "StorageException",
    "Table", "forget", "hosted", "normalized", "prices", "retrying", "table",
]  # fmt: skip


def table(ow: OpenWeights, name: str) -> Table:
    """A table of the server, as the client's own methods use it."""
    return cast(Table, getattr(ow, "_supabase").table(name))  # noqa: B009


def retrying(work: Callable[[object], T], owner: object) -> T:
    """`work(owner)`, retried as the client does; `owner._ow` is the client whose session is renewed."""
    from openweights.client.decorators import supabase_retry

    return supabase_retry()(work)(owner)


def hosted() -> tuple[str, str]:
    """Address and public key of the hosted service: the defaults of the client."""
    import inspect

    defaults = inspect.signature(OpenWeights.__init__).parameters
    return str(defaults["supabase_url"].default), str(defaults["supabase_key"].default)


def forget(ow: OpenWeights) -> None:
    """Remove this instance from those that the client keeps."""
    instances = cast(list[OpenWeights], getattr(OpenWeights, "_INSTANCES"))  # noqa: B009
    if ow in instances:
        instances.remove(ow)


def normalized(hardware: Sequence[str] | None) -> list[str] | None:
    """Hardware as workers call it; ValueError for names that the client does not know."""
    from openweights.cluster.start_runpod import normalize_hardware_type

    return None if hardware is None else [normalize_hardware_type(name) for name in hardware]


def prices(hardware: str) -> float | None:
    """Dollars per hour in the client's own table; ValueError for hardware it does not know."""
    from openweights.cluster.start_runpod import GPU_COST_PER_HOUR, normalize_hardware_type

    count, gpu = normalize_hardware_type(hardware).split("x ", maxsplit=1)
    known = GPU_COST_PER_HOUR.get(gpu)
    return None if known is None else int(count) * float(known)
