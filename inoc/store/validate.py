"""placeholder"""

import zlib
import numpy as np
from inoc.store.run import Run
from inoc.store.schema import PENDING


def unit_problem(run: Run, group: str, cell: tuple[int, ...]) -> str | None:
    from inoc.store.arrays import StoredArray

    variable, marker = ("prefixed", "unit_crc") if cell else ("default", "default_crc")
    values = StoredArray(run.path, f"{group}/{variable}")[(*cell, slice(None))]
    crc = zlib.crc32(np.ascontiguousarray(values).tobytes())
    if cell and run.has(f"{group}/rephrasing") and str(run.read(f"{group}/prefix_type")[cell[0]]) == "mix":
        crc = zlib.crc32(
            np.ascontiguousarray(StoredArray(run.path, f"{group}/rephrasing")[cell[1]]).tobytes(), crc
        )
    stored = int(run.read(f"{group}/{marker}")[cell])
    return (
        None
        if stored in (crc, PENDING)
        else f"/{group}/{variable}{list(cell)}: data differ from the CRC marker"
    )
