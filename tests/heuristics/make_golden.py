"""Make golden.json, what the oracles (which use no code of inoc) give for the world `many`:

python -m tests.heuristics.make_golden
"""

import json
import warnings
import zlib
from pathlib import Path

import numpy as np

from .oracle_worlds import World, many
from .oracles import ORACLES, View, expected

GOLDEN = Path(__file__).with_name("golden.json")
RECIPES = ("corrected", "published")


def inputs_crc(world: World) -> int:
    """Tells whether NumPy still draws the same world."""
    crc = 0
    for stored in world.sets.values():
        for values in (stored.row_size.astype("<i8"), stored.default, *stored.prefixed.values()):
            crc = zlib.crc32(values.tobytes(), crc)
    return crc


def main() -> None:
    world = many()
    golden: dict[str, object] = {"inputs": inputs_crc(world)}
    for recipe in RECIPES:
        view = View(world, recipe)
        golden[recipe] = {
            name: {
                "labels": {str(dim): wanted[dim].values.tolist() for dim in wanted.dims},
                "values": [None if np.isnan(x) else float(f"{x:.9g}") for x in wanted.values.ravel().tolist()],
            }
            for name in sorted(ORACLES)
            for wanted in [expected(view, name)]
        }
    GOLDEN.write_text(json.dumps(golden, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    with warnings.catch_warnings(action="ignore"):
        main()
