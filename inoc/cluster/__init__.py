"""More than one machine: a pool is a backend whose calls run on the workers of a dask cluster (extra `cluster`)."""

from inoc.cluster.place import Place
from inoc.cluster.pool import Pool, open_pool

__all__ = ["Place", "Pool", "open_pool"]
