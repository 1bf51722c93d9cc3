"""One canonical text and one hash for plain values and files."""

import hashlib
import json
from pathlib import Path

SHORT = 16
"""Hex digits of a short hash: 64 bits, enough to name the files and settings of one study."""


def canonical_json(value: object) -> str:
    """One text for one JSON value: sorted keys, no spaces, NaN refused."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def content_hash(*values: object, digits: int = SHORT) -> str:
    """A hash of JSON values: equal values have equal hashes in every process and on every machine.

    Args:
        values: What is hashed, in order; tuples count as lists.
        digits: Hex digits of the result, at most 64.
    """
    return bytes_hash(canonical_json(values).encode("utf-8", "surrogatepass"))[:digits]


def bytes_hash(data: bytes) -> str:
    """The SHA-256 of bytes, 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def keyed_seed(seed: int, name: str, bits: int = 31) -> int:
    """The seed, below 2**bits, of the random stream of this name; the only formula for engines that draw themselves."""
    digest = hashlib.sha256(f"{seed}\0{name}".encode()).digest()
    return int.from_bytes(digest[:8], "little") >> (64 - bits)


def file_hash(path: Path) -> str:
    """The SHA-256 of a file's content, 64 hex digits, read in blocks."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
