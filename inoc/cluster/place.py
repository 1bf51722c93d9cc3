"""Where the workers are: started on this machine, or those of a scheduler that runs already."""

import logging
import os
import platform
import re
import sys
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, cast

from inoc._version import __version__
from inoc.cluster.client import Client
from inoc.errors import BackendUnavailable, BadInput
from inoc.values import Scalar

MOST_LOCAL: Final = 256
CONNECT: Final = "10s"
"""How long a scheduler may take to answer."""
PATIENCE: Final = 300.0
"""Seconds that a scheduler's first worker may take to join."""
SETTINGS: Final = {
    "logging": {"distributed": "critical"},  # what matters is said in one sentence
    "distributed.admin.large-graph-warning-threshold": "1GB",
    "distributed.scheduler.allowed-failures": 10,
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    # dask gives freed memory back at once; taking it again cost a training 1.8 times its time
    "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None,
}


@dataclass(frozen=True)
class Place:
    """A cluster, as `--cluster` and the section `cluster` of a study name it.

    Attributes:
        address: "local:N", the address of a scheduler ("tcp://HOST:PORT", "tls://..."), or its file (FILE.json).
        resources: What a task needs of its worker, such as {"GPU": 1}; workers on this machine offer it.
        memory: Limit of a worker on this machine, such as "16GB"; one above it is ended and started again. None for
            no limit.
    """

    address: str
    resources: Mapping[str, int | float] = field(default_factory=dict[str, int | float])
    memory: str | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"local:[1-9][0-9]{0,2}|(tcp|tls|ucx|ws|wss)://[^\s@]+|[^:]+\.json", self.address) or (
            (self.local or 0) > MOST_LOCAL
        ):
            raise BadInput(
                f"{self.address[:60]!r} does not name a cluster. Fix: give local:N (N up to {MOST_LOCAL}), the "
                "address of a scheduler (tcp://HOST:8786) or its file (FILE.json)."
            )

    @property
    def local(self) -> int | None:
        """How many workers to start on this machine; None where a scheduler runs already."""
        kind, _, count = self.address.partition(":")
        return int(count) if kind == "local" else None


@contextmanager
def connected(place: Place) -> Generator[Client]:
    """A client of a cluster that has a worker. Workers that were started for it end with it.

    Args:
        place: Where the workers are.

    Raises:
        BackendUnavailable: dask is not installed, no scheduler answers, or no worker joins.
    """
    try:
        import dask.config
        import distributed
    except ImportError as error:
        fix = "pip install -e '.[cluster]' in inoc's clone"
        raise BackendUnavailable(f"a cluster needs dask.distributed. Fix: {fix}.") from error
    for name in [name for name in logging.root.manager.loggerDict if name.startswith("distributed")]:
        logging.getLogger(name).setLevel(logging.CRITICAL)  # dask sets a level for some of them
    with dask.config.set(SETTINGS), ExitStack() as stack:
        address: dict[str, Any] = {"address": place.address}
        if place.local is not None:
            address = {"address": stack.enter_context(_started(place, place.local))}
        elif place.address.endswith(".json"):
            if not Path(place.address).is_file():
                raise BadInput(f"{place.address} does not exist. Fix: give the scheduler file of a running cluster.")
            address = {"scheduler_file": place.address}
        try:
            client = cast(Client, distributed.Client(**address, timeout=CONNECT))
        except (OSError, ValueError, KeyError, ImportError, TypeError) as error:
            why = _first_line(error)
            fix = "start it (`dask scheduler`), or name its certificates in dask's configuration (distributed.comm.tls)"
            raise BackendUnavailable(f"no dask scheduler answers at {place.address} ({why}). Fix: {fix}.") from None
        stack.callback(_let_go, client)
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
            found = client.run(versions, on_error="ignore")  # one may die meanwhile; tasks check again
        except Exception as error:
            raise BackendUnavailable(
                f"no worker of the scheduler at {place.address} can work ({_first_line(error)}). Fix: start workers "
                "(`dask worker ADDRESS --nthreads 1`) where inoc is installed, and run the same command again."
            ) from None
        for there in found.values():
            compare("version of", versions(), there)
        yield client


@contextmanager
def _started(place: Place, workers: int) -> Generator[object]:
    """A scheduler and workers on this machine: one thread of dask each, a share of the cores, and a card of its own
    where there are cards."""
    from distributed import Nanny, Scheduler, SpecCluster

    cards = _cards()
    threads = os.environ.get("OMP_NUM_THREADS") or str(max(1, (os.cpu_count() or 1) // workers))
    shared = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads)
    shared |= {"TOKENIZERS_PARALLELISM": "false", "DASK_LOGGING__DISTRIBUTED": "critical"}
    options: dict[str, object] = {
        "nthreads": 1,
        "host": "127.0.0.1",
        "resources": dict(place.resources),
        "memory_limit": place.memory or 0,
        "dashboard": False,
        "silence_logs": logging.CRITICAL,
    }
    spec = {n: {"cls": Nanny, "options": {**options, "env": shared | _card(cards, n)}} for n in range(workers)}
    scheduler = {"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, "dashboard_address": "127.0.0.1:0"}}
    cluster = cast(Any, SpecCluster)(workers=spec, scheduler=scheduler)
    try:
        yield cluster
    finally:
        with suppress(Exception):  # workers end with this process, whatever happens here
            cluster.close(timeout=5)


def _cards() -> list[str]:
    """The CUDA cards this process may use."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name for name in visible.split(",") if name]
    if not Path("/proc/driver/nvidia").exists() and sys.platform == "linux":
        return []
    try:
        import torch
    except ImportError:
        return []
    return [str(n) for n in range(torch.cuda.device_count())]


def _card(cards: list[str], n: int) -> dict[str, str]:
    return {"CUDA_VISIBLE_DEVICES": cards[n % len(cards)]} if cards else {}


def _let_go(client: Client) -> None:
    """Cancel what is under way and leave."""
    with suppress(Exception):  # a scheduler that died cannot be told
        client.close(timeout=5)


def _first_line(error: Exception) -> str:
    text = next((line for line in str(error).splitlines() if line.strip()), "")
    return f"{type(error).__name__}: {text[:150]}" if text else type(error).__name__


def versions() -> dict[str, str]:
    """The versions of this process that must be the same everywhere."""
    from distributed._version import __version__ as dask

    return {"Python": platform.python_version().rpartition(".")[0], "inoc": __version__, "dask": dask}


def compare(what: str, here: Mapping[str, Scalar], there: Mapping[str, Scalar]) -> None:
    """Raise BackendUnavailable where a worker differs from the process of the command.

    Args:
        what: What is compared, such as "version of".
        here: Of the command, by name.
        there: Of the worker.
    """
    for name in [*here, *there]:
        if here.get(name) != there.get(name):
            raise BackendUnavailable(
                f"a worker of the cluster has another {f'{what} {name}'.strip()}: {there.get(name)}, here "
                f"{here.get(name)}. Fix: install the same versions and the same model on all workers."
            )


def workers(client: Client) -> int:
    """How many workers a cluster has now."""
    return int(client.scheduler_info(n_workers=0)["n_workers"])


def dashboard(client: Client) -> str:
    """The address of the scheduler's dashboard; "" where it has none."""
    with suppress(Exception):
        return str(cast(Any, client).dashboard_link or "")
    return ""
