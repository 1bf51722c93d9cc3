"""What figures read: a store with what several figures need of it, heuristics, roles, labels."""

from collections.abc import Callable, Sequence
from functools import cached_property, partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import BadInput, IncompleteStore
from inoc.figures.layout import Panels
from inoc.names import unknown
from inoc.store.store import Store

SCATTERED = ("ph", "elicitation", "gamma", "snr", "mald", "pca")
"""Heuristics of the scatter figures unless others are named."""
BOUNDS = ("lower", "upper")


class Source:
    """A store and what several figures need of it, computed once.

    Args:
        store: The store to draw.
        scattered: Heuristics of the scatter figures.
    """

    def __init__(self, store: Store, scattered: Sequence[str] = SCATTERED) -> None:
        self.store, self.scattered = store, tuple(scattered)

    @cached_property
    def heuristics(self) -> xr.Dataset:
        """All heuristics."""
        return heuristics_of(self.store, None, ())

    @cached_property
    def rows(self) -> xr.Dataset:
        """The tidy table of heuristics and outcomes."""
        from inoc.outcomes import rows

        return with_bounds(self.store, rows(self.store, self.heuristics))

    @property
    def traits(self) -> list[str]:
        """Names of the traits."""
        return [trait.name for trait in self.store.traits]

    @property
    def prefix_types(self) -> list[str]:
        """Prefix types that were scored."""
        return strings(self.heuristics["prefix_type"]) if "prefix_type" in self.heuristics else []

    def by_prefix_type(self, plot: Callable[..., Axes], height: float = 2.8, **options: object) -> Panels:
        """A figure with one panel per prefix type."""
        kinds = self.prefix_types
        plots = [partial(plot, self.store, prefix_type=kind, **options) for kind in kinds]
        return Panels(plots, 2, height)


def heuristics_of(store: Store, given: xr.Dataset | None, names: Sequence[str]) -> xr.Dataset:
    """A Dataset that holds the named heuristics (all for no names): the one given, or a computed one.

    Raises:
        IncompleteStore: One of them cannot be computed from this store; the message says why.
    """
    from inoc.heuristics.frame.table import compute

    if given is None:
        if not store.completion_sets:
            raise IncompleteStore(f"{store.path.name} has no base-model logprobs. Fix: run `inoc score`.")
        given = compute(store, only=list(names) or None)
    for name in names:
        if name not in given:
            reasons = [str(line) for line in given.attrs.get("absent", [])]
            found = [line for line in reasons if line.startswith(f"{name}: ")]
            raise IncompleteStore(found[0] if found else f"{name}: not computed")
    return given


def roles_of(store: Store, prompts: Sequence[str]) -> list[str]:
    """The role of each prompt key; "control" for no prompt, "" where unknown."""
    table = store.prompts
    known = dict(zip(strings(table["prompt"]), strings(table["role"]), strict=True))
    return [known.get(prompt, "") if prompt else "control" for prompt in prompts]


def with_roles(store: Store, data: xr.Dataset, by: str = "prompt") -> xr.Dataset:
    """The data with a coordinate `role` along the dimension of the prompt keys `by`."""
    role = (data[by].dims[0], roles_of(store, strings(data[by])))
    return data.assign(role=role).set_coords("role")


def strings(values: xr.DataArray) -> list[str]:
    """Labels as plain strings."""
    return [str(value) for value in values.values]


def columns_of(data: xr.Dataset, *names: str) -> list[list[str]]:
    """Several coordinates as plain strings."""
    return [strings(data[name]) for name in names]


def choose(data: xr.Dataset, dim: str, wanted: str | None = None) -> str:
    """A label of a dimension: the one wanted, the first for None.

    Raises:
        BadInput: There is no such label; the message suggests the nearest.
    """
    known = strings(data[dim])
    if wanted is None and known:
        return known[0]
    if wanted not in known:
        raise BadInput(unknown(dim.replace("_", " "), wanted or "", known))
    return wanted


def effect_name(store: Store, trait: str) -> str:
    """What control minus run is called for a trait, such as "Playful suppression" or "loss of French"."""
    wanted = any(found.name == trait and found.role == "positive" for found in store.traits)
    return f"loss of {trait}" if wanted else f"{trait} suppression"


def continued(store: Store, names: Sequence[str]) -> list[str]:
    """The runs that continue another run; the durability figure shows them."""
    return [name for name in names if store.run(name).start]


def cells_of(suppression: xr.Dataset) -> dict[tuple[str, str], list[int]]:
    """Places of the runs by prompt and prefix type; several where seeds were repeated."""
    places: dict[tuple[str, str], list[int]] = {}
    for i, cell in enumerate(zip(*columns_of(suppression, "run_prompt", "prefix_type"), strict=True)):
        places.setdefault((cell[0], cell[1]), []).append(i)
    return places


def with_bounds(store: Store, table: xr.Dataset) -> xr.Dataset:
    """The tidy table with the ends of the suppression interval of each row; NaN where seeds were averaged."""
    from inoc.outcomes import suppression

    if BOUNDS[0] in table:
        return table
    held = suppression(store)
    cells, traits = cells_of(held), strings(held["trait"])
    ends = np.full((2, table.sizes["row"]), np.nan)
    for row, (*cell, trait) in enumerate(zip(*columns_of(table, "prompt", "prefix_type", "trait"), strict=True)):
        found = cells.get((cell[0], cell[1]), [])
        if len(found) == 1:
            ends[:, row] = [held[part].values[found[0], traits.index(trait)] for part in BOUNDS]
    return table.assign({part: ("row", ends[i], {"units": "pp"}) for i, part in enumerate(BOUNDS)})


def level(tokenwise: bool) -> str:
    """Name of the level of the differences, for captions."""
    return "tokenwise" if tokenwise else "pointwise"


def variable(name: str, tokenwise: bool) -> str:
    """The name of a heuristic at a level."""
    return f"token_{name}" if tokenwise else name
