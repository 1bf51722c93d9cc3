"""The run store: one Zarr directory that every stage writes to and every analysis reads from.

`open_run` reads, `RunWriter` writes, `validate` verifies. Importing this package imports neither zarr nor xarray.
"""

from inoc.store.arrays import ExampleArrays, StoredArray, TokenArrays
from inoc.store.run import Run, open_run
from inoc.store.schema import SCHEMA_VERSION, Level, PromptInfo, TraitInfo, Unit
from inoc.store.writer import RunWriter

__all__ = [
    "SCHEMA_VERSION",
    "ExampleArrays",
    "Level",
    "PromptInfo",
    "Run",
    "RunWriter",
    "StoredArray",
    "TokenArrays",
    "TraitInfo",
    "Unit",
    "open_run",
]
