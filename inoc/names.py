"""The nearest valid name to one that is unknown: one helper for every error that says "did you mean"."""

from collections.abc import Collection, Iterable

from inoc.errors import BadInput

CUTOFF = 0.5
"""Similarity below which a name is not suggested (0 different, 1 equal)."""
LISTED = 12
"""Names listed where none is near."""


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like `name`, whatever its case; None where none is near."""
    from difflib import get_close_matches

    by_lower = {candidate.lower(): candidate for candidate in known}
    found = get_close_matches(name.lower(), by_lower, n=1, cutoff=CUTOFF)
    return by_lower[found[0]] if found else None


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """The error sentence for a name that does not exist.

    Args:
        kind: What is named, such as "heuristic".
        name: The unknown name.
        known: The valid names, in the order they are listed.

    Returns:
        `unknown heuristic 'gama'. Fix: did you mean 'gamma'?`, or a list of the valid names.
    """
    names = list(known)
    near = nearest(name, names)
    if near is not None:
        return f"unknown {kind} {name!r}. Fix: did you mean {near!r}?"
    if not names:
        return f"unknown {kind} {name!r}. Fix: leave it out; there are none."
    more = f" and {len(names) - LISTED} more" if len(names) > LISTED else ""
    return f"unknown {kind} {name!r}. Fix: use one of {', '.join(names[:LISTED])}{more}."


def refuse_unknown(kind: str, names: Iterable[str], known: Collection[str], where: str = "") -> None:
    """Raise BadInput for the first name that does not exist.

    Args:
        kind, known: As of `unknown`.
        names: To be checked.
        where: What the sentence starts with, such as "store.zarr: ".

    Raises:
        BadInput: A name is not one of the known.
    """
    for name in names:
        if name not in known:
            raise BadInput(where + unknown(kind, name, known))
