"""How far each stage of a study is, from the markers of its store, and how long the rest takes."""

import os
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from inoc.store.opening import steady
from inoc.store.reader import Reader
from inoc.store.schema import LOGPROB_GROUP, PENDING

KEPT = 20
"""Observations that the time left is measured over."""


@dataclass(frozen=True)
class Stage:
    """Steps of a stage that are done and planned; `left` in seconds, None where not known."""

    name: str
    done: int
    total: int
    left: float | None = None


def stages(store: Reader) -> list[Stage]:
    """Every stage that the store has a plan of; reads markers and labels only.

    Raises:
        BrokenStore: The store is damaged.
    """
    return steady(store.path, lambda: [stage for stage in _stages(store) if stage.total > 0])


def _stages(store: Reader) -> Iterable[Stage]:
    for level, group in LOGPROB_GROUP.items():
        for name in store.subgroups(group):
            default, units = store.markers(level, name)
            yield Stage(f"score {name}", int(units.sum()) + default, units.size + 1)
    for name in store.subgroups("probes"):
        marks = store.marks(f"probes/{name}", "unit_crc")
        yield Stage(f"probe {name}", int((marks != PENDING).sum()), marks.size)
    if store.has("elicitation") and store.has("prompts"):
        yield Stage("elicit", store.shape("elicitation/prompt")[0], store.shape("prompts/prompt")[0])
    trained = planned = evaluated = asked = 0
    for name in store.subgroups("runs"):
        run, updates = store.run(name), store.read(f"runs/{name}/update")
        if run.nominal_step > 0 and not run.leak_of and (updates.size or run.trained_with):
            last = int(updates.max()) + 1 if updates.size else 0
            trained, planned = trained + min(last, run.nominal_step), planned + run.nominal_step
        done = store.read(f"runs/{name}/unit_crc") != PENDING
        evaluated, asked = evaluated + int(done.sum()), asked + int((done | store.planned(name)).sum())
    yield Stage("train, updates of the runs begun", trained, planned)
    yield Stage("evaluate, runs begun", evaluated, asked)


class Pace:
    """Remembers when a stage was how far, and says how long the rest takes at the rate that was seen."""

    def __init__(self) -> None:
        self.seen: deque[tuple[float, int]] = deque(maxlen=KEPT)

    def left(self, stage: Stage, now: float) -> float | None:
        """Seconds until the stage is done; None before it was seen to advance twice. `now`: a monotonic clock, in
        seconds."""
        if not self.seen or self.seen[-1][1] != stage.done:
            self.seen.append((now, stage.done))
        if len(self.seen) < 3 or stage.done >= stage.total:
            return None
        # the first observation began in the middle of a step
        (begun, first), (last, done) = self.seen[1], self.seen[-1]
        rate = (done - first) / (last - begun) if last > begun else 0.0
        return max(0.0, (stage.total - done) / rate - (now - last)) if rate > 0 else None


def version(path: Path) -> tuple[str, float]:
    """What changes with every change of a store's files: a hash of their names, sizes and times; and the time of the
    last change (0 where there is no file)."""
    found: list[tuple[str, int, int]] = []
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                status = os.stat(os.path.join(directory, name))
            except OSError:
                continue  # a writer is moving it
            found.append((os.path.join(directory, name), status.st_size, status.st_mtime_ns))
    last = max((time for _, _, time in found), default=0)
    return sha256(repr(sorted(found)).encode("utf-8", "surrogateescape")).hexdigest()[:16], last / 1e9
