"""What is known of schema v1, in one place: reading and `inoc upgrade` see such a store through these functions.

It had no lists of contents, its markers were checksums over values, it had one answer to a question, and the prompts
tried on a run were named in the experiment as its leak grid. What is written is always the present schema.
"""

import zlib
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

import numpy as np

from inoc.errors import BrokenStore
from inoc.hashing import canonical_json
from inoc.store.change import Files
from inoc.store.files import ARRAYS, CRC, NODE, ORDER, parse_node
from inoc.store.schema import ALL_FILES, NESTED, PENDING

VERSION = 1


def is_v1(root: Mapping[str, object]) -> bool:
    """Whether the attributes of a root are those of a store of schema v1."""
    return root.get("schema_version") == VERSION


def root_of(files: Files, root: Mapping[str, object]) -> dict[str, object]:
    """The attributes of a root with the list of its groups, and with the leak grid as probes."""
    evaluation = {**_evaluation(root["experiment"])}
    if "leak_grid" in evaluation:
        evaluation["probes"] = {"prompts": evaluation.pop("leak_grid") or []}
        root = {**root, "experiment": {**cast(Mapping[str, object], root["experiment"]), "evaluation": evaluation}}
    return {**root, ORDER: sorted(files.folders(""))}


def _evaluation(experiment: object) -> Mapping[str, object]:
    """The section `evaluation` of an experiment; empty where there is none."""
    found = cast(Mapping[str, object], experiment).get("evaluation") if isinstance(experiment, Mapping) else None
    return cast(Mapping[str, object], found) if isinstance(found, Mapping) else {}


def group_of(files: Files, where: str, attributes: Mapping[str, object]) -> dict[str, object]:
    """The attributes of a group with the lists of its contents. Nothing vouches for its variables as a whole."""
    names = sorted(files.folders(where))
    if where in NESTED:
        order = cast(Sequence[str], attributes.get(ORDER) or ())
        return {**attributes, ORDER: sorted(names, key=lambda n: order.index(n) if n in order else len(order))}
    return {**attributes, ARRAYS: {name: [_crc(files, f"{where}/{name}"), PENDING] for name in names}}


def _crc(files: Files, where: str) -> int:
    """The checksum of a variable's metadata; PENDING where they are damaged, which reading them says."""
    try:
        document = parse_node(files.read(f"{where}/{NODE}"), f"/{where}")
    except (BrokenStore, OSError):
        return PENDING
    return cast(int, cast(Mapping[str, object], document["attributes"])[CRC])


def values_crc(parts: Iterable[np.ndarray]) -> int:
    """A marker: a CRC-32 over the values of a cell, texts as a JSON list."""
    crc = 0
    for part in parts:
        texts = part.dtype == object
        crc = zlib.crc32(canonical_json([str(t) for t in part]).encode() if texts else part.tobytes(), crc)
    return crc


def files_of(experiment: Mapping[str, object], labels: Sequence[str]) -> tuple[str, ...]:
    """The named file of each question: where there were several, the label of an answer begins with it."""
    files = _evaluation(experiment).get("instructions")
    names = [str(file) for file in cast(Mapping[str, object], files)] if isinstance(files, Mapping) else []
    several = names if len(names) > 1 else []
    return tuple(next((n for n in several if text.startswith(f"{n}: ")), ALL_FILES) for text in labels)
