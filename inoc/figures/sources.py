"""What several figures read: heuristics computed when not given, roles of prompts, names of the prefix types."""

from collections.abc import Sequence

import xarray as xr

from inoc.errors import BadInput, IncompleteStore
from inoc.store.store import Store


def heuristics_of(store: Store, given: xr.Dataset | None, names: Sequence[str]) -> xr.Dataset:
    """A Dataset that holds the named heuristics: the one given, or computed for them.

    Raises:
        IncompleteStore: one of them cannot be computed from this store; the message says why.
    """
    from inoc.heuristics.frame.resolve import compute

    if given is None:
        if not store.completion_sets:
            raise IncompleteStore(f"{store.path.name} has no base-model logprobs; `inoc score` makes them")
        given = compute(store, only=list(names))
    for name in names:
        if name not in given:
            lines = [str(line) for line in given.attrs.get("absent", [])]
            why = next(
                (line.split(": ", 1)[1] for line in lines if line.startswith(f"{name}: ")), "not computed"
            )
            raise IncompleteStore(f"{name}: {why}")
    return given


def roles_of(store: Store) -> dict[str, str]:
    """Role by prompt key."""
    table = store.prompts
    return {str(k): str(r) for k, r in zip(table["prompt"].values, table["role"].values, strict=True)}


def trait_roles(store: Store) -> dict[str, str]:
    """Role by trait name."""
    return {trait.name: trait.role for trait in store.traits}


def continued(store: Store, names: Sequence[str]) -> list[str]:
    """Those of the runs that continue another one; their place is the durability figure."""
    return [name for name in names if store.runs[name].start]


def one_of(what: str, wanted: str, known: Sequence[str]) -> str:
    """`wanted` if it is known, else BadInput that lists what is."""
    if wanted not in known:
        raise BadInput(f"no {what} '{wanted}': there is {', '.join(known) or 'none'}.")
    return wanted


def level_prefix(tokenwise: bool) -> str:
    """Prefix of the names of tokenwise variables."""
    return "token_" if tokenwise else ""
