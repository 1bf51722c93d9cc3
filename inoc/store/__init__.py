"""The store: one Zarr directory that every stage writes to and every analysis reads from.

`open_store` reads, `StoreWriter` writes, `validate` verifies. Importing this package imports neither zarr nor xarray.
"""

from inoc.store.arrays import ExampleArrays, StoredArray, TokenArrays
from inoc.store.runs import RunInfo, RunPlan
from inoc.store.schema import SCHEMA_VERSION, Level, PromptInfo, ScoreInfo, Unit
from inoc.store.store import Store, open_store
from inoc.store.writer import StoreWriter

__all__ = [
    "SCHEMA_VERSION",
    "ExampleArrays",
    "Level",
    "PromptInfo",
    "RunInfo",
    "RunPlan",
    "ScoreInfo",
    "Store",
    "StoreWriter",
    "StoredArray",
    "TokenArrays",
    "Unit",
    "open_store",
]
