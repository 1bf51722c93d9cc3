"""Q2: the suppression of the other trait against angles that may predict it."""

from functools import partial

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import house, scatter
from inoc.figures.catalog import figure
from inoc.figures.layout import Panels
from inoc.figures.sources import Source, cells_of, choose, heuristics_of, level, roles_of, strings, variable, with_roles
from inoc.heuristics.maths.angles import SHOW_R_FROM, correlation
from inoc.outcomes import suppression
from inoc.store.store import Store

WORDS = {
    "angle_from_pca_axis": "angle from the first PCA axis",
    "angle_from_svd_axis": "angle from the first SVD axis",
    "angle_to_centroid_pca": "angle to the other traits' mean, PCA",
    "angle_to_centroid_svd": "angle to the other traits' mean, SVD",
    "angle_to_centroid_raw": "angle to the other traits' mean, raw",
}


def cross_angle_data(
    store: Store, *, tokenwise: bool = False, show_from: int = SHOW_R_FROM, heuristics: xr.Dataset | None = None
) -> xr.Dataset:
    """Five angles of each prompt, the suppression of the other trait, and their correlation.

    The other trait of a positive prompt is the negative one, and the reverse; neutral prompts have no other trait.

    Args:
        store: The store to read.
        tokenwise: Use token differences instead of means over examples.
        show_from: The fewest prompts for which r is computed.
        heuristics: What `inoc.heuristics.compute` returned; None to compute it.

    Returns:
        `angle` (predictor, prefix_type, prompt) in degrees; `other_suppression`, `lower`, `upper` (prefix_type,
        prompt) in pp; `r`, `p`, `n` (predictor, prefix_type).

    Raises:
        IncompleteStore: No prompt has both an angle and a suppression of the other trait.
    """
    name = variable("cross_angle", tokenwise)
    table = heuristics_of(store, heuristics, [name])
    held = suppression(store)
    by_role = {trait.role: trait.name for trait in store.traits}
    other = {"positive": by_role.get("negative"), "negative": by_role.get("positive")}
    keys, kinds = strings(table["prompt"]), strings(table["prefix_type"])
    cells = cells_of(held)
    ends = np.full((3, len(kinds), len(keys)), np.nan)
    for p, (key, role) in enumerate(zip(keys, roles_of(store, keys), strict=True)):
        for f, kind in enumerate(kinds):
            trait, runs = other.get(role), cells.get((key, kind))
            if trait and runs:
                cell = held.isel(run=runs[-1]).loc[{"trait": trait}]
                ends[:, f, p] = [float(cell[part]) for part in ("mean", "lower", "upper")]
    angle = table[name].transpose("predictor", "prefix_type", "prompt").values.astype(np.float64)
    if not (np.isfinite(ends[0]) & np.isfinite(angle).any(axis=0)).any():
        raise IncompleteStore("no positive or negative prompt has both an angle and a suppression of the other trait")
    found = np.full((*angle.shape[:2], 3), np.nan)
    for a, f in np.ndindex(angle.shape[:2]):
        found[a, f] = tuple(correlation(angle[a, f], ends[0, f], show_from=show_from))
    both = ("prefix_type", "prompt")
    outcomes = {k: (both, ends[i], {"units": "pp"}) for i, k in enumerate(("other_suppression", "lower", "upper"))}
    data = xr.Dataset(
        {
            "angle": (("predictor", *both), angle, {"units": "degrees"}),
            **outcomes,
            **{k: (("predictor", "prefix_type"), found[..., i]) for i, k in enumerate("rpn")},
        },
        coords={"predictor": strings(table["predictor"]), "prefix_type": kinds, "prompt": keys},
        attrs={"show_from": show_from, "left_out": list(held.attrs.get("left_out", []))},
    )
    return with_roles(store, data)


@house.draws(cross_angle_data)
def plot_cross_angle(
    store: Store,
    predictor: str = "angle_to_centroid_raw",
    *,
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the suppression of the other trait by one of the five angles.

    Args:
        predictor: One of the angles of `cross_angle_data`.

    Returns:
        The axes. r and its line are shown from 8 prompts on.

    Raises:
        IncompleteStore: No prompt has both the angle and a suppression of the other trait.
        BadInput: The predictor is unknown.

    Example:
        >>> ax = inoc.plot_cross_angle(store, "angle_from_pca_axis")
    """
    data = cross_angle_data(store, tokenwise=tokenwise, heuristics=heuristics)
    cell = data.loc[{"predictor": choose(data, "predictor", predictor)}]
    x, y = cell["angle"].values, cell["other_suppression"].values
    lower, upper = cell["lower"].values, cell["upper"].values
    shown = np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        raise IncompleteStore(
            f"no prompt has both {variable('cross_angle', tokenwise)} '{predictor}' and a suppression of the other "
            "trait; angles to the other traits' mean need prompts of both roles"
        )
    f, p = np.nonzero(shown)
    kinds = strings(data["prefix_type"])
    roles, keys = (strings(data[name][p]) for name in ("role", "prompt"))
    ax = house.axes_or_new(ax, height=2.6)
    points = scatter.Points(
        x[shown], y[shown], lower[shown], upper[shown], keys, roles, [kinds[i] for i in f]
    )  # fmt: skip
    said = scatter.draw(ax, points, names=10)
    ax.set(xlabel=f"{WORDS.get(predictor, predictor)} (degrees)", ylabel="other trait's suppression (pp)")
    house.describe(
        ax,
        f"Suppression of the trait the prompt does not ask for against {level(tokenwise)} angles; "
        "the prompt itself is left out of any mean vector.",
        "Neutral prompts have no other trait.",
        *said,
        house.left_out(*data.attrs["left_out"]),
    )
    return ax


@figure("cross_angle", "angles", "Q2: do angles predict the suppression of the other trait?")
@figure("cross_angle_tokens", "angles", "Q2 from token differences.", tokenwise=True)
def draw(source: Source, tokenwise: bool = False) -> Panels:
    plot = partial(plot_cross_angle, source.store, tokenwise=tokenwise, heuristics=source.heuristics)
    return Panels([partial(plot, predictor) for predictor in WORDS], 2, 2.2)
