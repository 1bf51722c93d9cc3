"""Stable hashes of stored content; what differs between stored and present settings, and how that is refused."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int

from inoc.errors import OtherSettings
from inoc.hashing import SHORT, bytes_hash, canonical_json

_Fields = Mapping[str, object]


def fingerprint(value: object) -> str:
    """Hash of any JSON value, 16 hex digits: the same on every machine, whatever the order of mappings."""
    return bytes_hash(canonical_json(value).encode())[:SHORT]


def completions_fingerprint(
    example_ids: Sequence[str],
    row_size: Int[np.ndarray, " example"] | None = None,
    token_ids: Int[np.ndarray, " token"] | None = None,
    texts: Sequence[str] | None = None,
) -> str:
    """Hash of a completion set: ids, token counts, token ids and texts, as far as known."""
    known = {
        "example_ids": list(example_ids),
        "row_size": None if row_size is None else row_size.tolist(),
        "token_ids": None if token_ids is None else bytes_hash(token_ids.astype("<i4").tobytes())[:SHORT],
        "texts": None if texts is None else fingerprint(list(texts)),
    }
    return fingerprint(known)


def imported_identity(
    model: str, completions: Mapping[str, str], prompts: Mapping[str, str], pools: Mapping[str, Sequence[str]]
) -> dict[str, object]:
    """The identity of a store made from files: its model as they name it, and hashes of its content by set or key."""
    return {
        "source": "import",
        "model": model,
        "completions": dict(completions),
        "prompts": fingerprint(dict(prompts)),
        "rephrasings": {key: fingerprint(list(pool)) for key, pool in pools.items()},
    }


def differing(old: _Fields, new: _Fields, prefix: str = "") -> list[tuple[str, str, str]]:
    """The fields that differ: dotted name and both values as text, "nothing" for a field that one lacks."""
    found: list[tuple[str, str, str]] = []
    for key in sorted({*old, *new}):
        name, before, now = f"{prefix}{key}", old.get(key), new.get(key)
        if isinstance(before, Mapping) and isinstance(now, Mapping):
            found += differing(cast(_Fields, before), cast(_Fields, now), f"{name}.")
        elif key not in old or key not in new or before != now:
            said = ["nothing" if key not in fields else repr(fields[key]) for fields in (old, new)]
            found.append((name, said[0], said[1]))
    return found


def difference(old: _Fields, new: _Fields, prefix: str = "") -> list[str]:
    """One line per field that differs: "field: stored ..., now ..."; nested mappings by dotted name."""
    return [f"{name}: stored {before}, now {now}" for name, before, now in differing(old, new, prefix)]


def label_difference(where: str, old: Sequence[str], new: Sequence[str]) -> list[str]:
    """One line about two lists of labels: how many there are, or the first that differs; none where they are equal."""
    if len(old) != len(new):
        return [f"{where}: stored {len(old)}, now {len(new)}"]
    found = (i for i, (before, now) in enumerate(zip(old, new, strict=True)) if before != now)
    return [f"{where}[{i}]: stored {old[i]!r}, now {new[i]!r}" for i in found][:1]


def refuse(place: Path, lines: Iterable[str], fix: str = "restore them or choose another --store") -> None:
    """Raise OtherSettings with the lines, one per changed field; do nothing where there are none."""
    listed = "\n  ".join(lines)
    if listed:
        raise OtherSettings(f"{place} was made with other settings. Fix: {fix}.\n  {listed}")
