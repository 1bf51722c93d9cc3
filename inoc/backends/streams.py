"""The keys of all random streams. A changed key changes samples and trained weights."""

from hashlib import sha256

import numpy as np

from inoc.backends.protocols import SampleRequest
from inoc.hashing import keyed_seed


def stream_seed(seed: int | None, request: SampleRequest, bits: int = 31) -> int | None:
    """The seed, below 2**bits, of a request's stream, for an engine that draws itself; None without a seed."""
    return None if seed is None else keyed_seed(seed, request.stream_name, bits)


def uniform_stream(seed: int, name: str) -> np.random.Generator:
    """The uniform numbers that the local backend draws a request's tokens with."""
    return np.random.default_rng(int.from_bytes(_digest(f"{seed}\n{name}")[:16]))


def update_seed(seed: int, update: int, rank: int = 0) -> int:
    """The seed of one update's dropout in one process of a training."""
    return int.from_bytes(_digest(f"{seed} {update}" if rank == 0 else f"{seed} {update} {rank}")[:7])


def _digest(key: str) -> bytes:
    return sha256(key.encode()).digest()
