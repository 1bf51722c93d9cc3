"""The history of a store: which experiments were accepted, by which command, and what each changed.

It is a list in the root's attributes that only grows. An experiment is written when all its settings are accepted, so
the last entry is that of the stored experiment.
"""

import os
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import cast

from inoc._version import __version__
from inoc.store.fingerprint import difference, fingerprint

HISTORY = "history"
Entry = Mapping[str, object]
"""`command`, `inoc` (its version), `when` (UTC), `experiment` (its fingerprint), `changes` (one line per field)."""


def now() -> str:
    """The time in UTC, to the second; that of SOURCE_DATE_EPOCH where it is set, for stores that are compared."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH", "")
    when = datetime.fromtimestamp(int(fixed), UTC) if fixed.isdecimal() else datetime.now(UTC)
    return when.strftime("%Y-%m-%dT%H:%M:%SZ")


def entries(root: Mapping[str, object]) -> list[Entry]:
    """The history in the attributes of a root, the oldest entry first; empty in a store of schema v1."""
    return list(cast(list[Entry], root.get(HISTORY) or []))


def accepted(
    root: Mapping[str, object], experiment: Mapping[str, object], command: str, also: Sequence[str] = ()
) -> list[Entry]:
    """The history in the attributes of a root (empty for a new store) with an entry for this experiment, accepted by
    `command`, where something changes or it is the first; `also`: what changes apart from the experiment."""
    known = entries(root)
    changes = [*also] + (difference(cast(Mapping[str, object], root["experiment"]), experiment) if root else [])
    if root and not changes:
        return known
    entry = {
        "command": command,
        "inoc": __version__,
        "when": now(),
        "experiment": fingerprint(experiment),
        "changes": changes,
    }
    return [*known, entry]
