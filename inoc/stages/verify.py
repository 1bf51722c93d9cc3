"""Reading a scored store again, every unit of it."""

from pathlib import Path

import numpy as np

from inoc.errors import BrokenStore
from inoc.store.store import open_store
from inoc.store.validate import unit_problem


def verify_store(store: Path) -> int:
    """Read every stored unit at token level, compare it with its checksum and look for values that cannot be
    right.

    Returns how many units were read. Pending units are not counted.

    Raises:
        BrokenStore: naming the first damaged unit.
    """
    run = open_store(store)
    count = 0
    for name in run.completion_sets:
        if "token" not in run.levels(name):
            continue
        group, arrays = f"logprobs/{name}", run.token_logprobs(name)
        cells: list[tuple[int, ...]] = [()] if arrays.default_done else []
        cells += [(int(f), int(p)) for f, p in np.argwhere(arrays.done)]
        for cell in cells:
            problem = unit_problem(run, group, cell)
            values = arrays.prefixed[(*cell, slice(None))] if cell else arrays.default[:]
            if problem is None and not np.all(np.isfinite(values) & (values <= 0)):
                problem = f"/{group}{list(cell)}: holds values that are no log-probabilities."
            if problem is not None:
                raise BrokenStore(f"{store}: {problem}")
            count += 1
    return count
