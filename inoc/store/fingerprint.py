"""Stable hashes of what logprobs depend on (the same content gives the same 16 hex digits on every machine), and the
field-by-field difference of two identities."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Int

from inoc.store.files import canonical_json


def _short(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:16]


def fingerprint(value: object) -> str:
    """Hash of any JSON value (mappings by sorted key; NaN refused)."""
    return _short(canonical_json(value).encode())


def prompts_fingerprint(texts: Mapping[str, str]) -> str:
    """Hash of prompt texts by key; the order of the keys does not matter."""
    return fingerprint(dict(texts))


def texts_fingerprint(texts: Iterable[str]) -> str:
    """Hash of texts in order: a rephrasing pool, instructions, completions."""
    return fingerprint(list(texts))


def template_fingerprint(template: str | None) -> str:
    """Hash of a chat template; "none" where there is none."""
    return "none" if template is None else _short(template.encode())


def completions_fingerprint(
    example_ids: Sequence[str],
    row_size: Int[np.ndarray, " example"] | None = None,
    token_ids: Int[np.ndarray, " token"] | None = None,
    texts: Sequence[str] | None = None,
) -> str:
    """Hash of a completion set: ids, token counts, token ids and texts, as far as known."""
    known = {
        "example_ids": list(example_ids),
        "row_size": None if row_size is None else [int(n) for n in row_size],
        "token_ids": None if token_ids is None else _short(token_ids.astype("<i4").tobytes()),
        "texts": None if texts is None else texts_fingerprint(texts),
    }
    return fingerprint(known)


def file_fingerprint(path: Path) -> str:
    """Hash of a file's bytes."""
    with path.open("rb") as f:
        return hashlib.file_digest(f, "sha256").hexdigest()[:16]


def difference(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> list[str]:
    """Field by field, what differs: "field: stored … , now …"; nested mappings by dotted name."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        name = f"{prefix}{key}"
        if key not in old:
            lines.append(f"{name}: stored nothing, now {new[key]!r}")
        elif key not in new:
            lines.append(f"{name}: stored {old[key]!r}, now nothing")
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            lines += difference(
                cast(Mapping[str, object], old[key]), cast(Mapping[str, object], new[key]), f"{name}."
            )
        elif old[key] != new[key]:
            lines.append(f"{name}: stored {old[key]!r}, now {new[key]!r}")
    return lines
