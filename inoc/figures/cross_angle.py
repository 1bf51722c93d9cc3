"""Q2: the suppression of the other trait against an angle that should foretell it."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.errors import IncompleteStore
from inoc.figures import fits, house
from inoc.figures.labels import PointLabels
from inoc.figures.sources import heuristics_of, level_prefix, one_of, roles_of
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
    store: Store,
    *,
    tokenwise: bool = False,
    show_from: int = SHOW_R_FROM,
    heuristics: xr.Dataset | None = None,
) -> xr.Dataset:
    """angle (predictor, prefix_type, prompt), other_suppression (prefix_type, prompt) in pp with lower and upper, and
    r, p, n (predictor, prefix_type).

    The other trait of a positive prompt is the negative one, and the reverse; neutral prompts have none.
    """
    name = f"{level_prefix(tokenwise)}cross_angle"
    table = heuristics_of(store, heuristics, [name])
    held = suppression(store)
    roles, by_role = roles_of(store), {t.role: t.name for t in store.traits}
    other = {"positive": by_role.get("negative"), "negative": by_role.get("positive")}
    keys = [str(p) for p in table["prompt"].values]
    kinds = [str(k) for k in table["prefix_type"].values]
    ends = np.full((3, len(kinds), len(keys)), np.nan)
    runs = zip(held["run_prompt"].values, held["prefix_type"].values, strict=True)
    for i, (prompt, kind) in enumerate(runs):
        trait = other.get(roles.get(str(prompt), ""))
        if trait and str(prompt) in keys and str(kind) in kinds:
            cell = held.isel(run=i).sel(trait=trait)
            place = kinds.index(str(kind)), keys.index(str(prompt))
            ends[(slice(None), *place)] = [float(cell[part]) for part in ("mean", "lower", "upper")]
    angle = table[name].transpose("predictor", "prefix_type", "prompt").values.astype(np.float64)
    found = np.full((*angle.shape[:2], 3), np.nan)
    for a, f in np.ndindex(angle.shape[:2]):
        found[a, f] = tuple(correlation(angle[a, f], ends[0, f], show_from=show_from))
    if not (np.isfinite(ends[0]) & np.isfinite(angle).any(axis=0)).any():
        raise IncompleteStore(
            "no positive or negative prompt has both an angle and a suppression of the other trait"
        )
    both = ("prefix_type", "prompt")
    return xr.Dataset(
        {
            "angle": (("predictor", *both), angle, {"units": "degrees"}),
            **{
                k: (both, ends[i], {"units": "pp"})
                for i, k in enumerate(("other_suppression", "lower", "upper"))
            },
            **{k: (("predictor", "prefix_type"), found[..., i]) for i, k in enumerate(("r", "p", "n"))},
        },
        coords={
            "predictor": [str(p) for p in table["predictor"].values],
            "prefix_type": kinds,
            "prompt": keys,
            "role": ("prompt", [roles.get(k, "") for k in keys]),
        },
        attrs={"show_from": show_from, "left_out": list(held.attrs.get("left_out", []))},
    )


@house.styled
def plot_cross_angle(
    store: Store,
    predictor: str = "angle_to_centroid_raw",
    *,
    tokenwise: bool = False,
    heuristics: xr.Dataset | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Suppression of the other trait by one of the five angles; r from 8 prompts on."""
    data = cross_angle_data(store, tokenwise=tokenwise, heuristics=heuristics)
    one_of("predictor", predictor, [str(p) for p in data["predictor"].values])
    cell = data.sel(predictor=predictor)
    x, y = cell["angle"].values, cell["other_suppression"].values
    shown = np.isfinite(x) & np.isfinite(y)
    if not shown.any():
        raise IncompleteStore(
            f"no prompt has both {level_prefix(tokenwise)}cross_angle '{predictor}' and a suppression of the other "
            "trait; angles to the other traits' mean need prompts of both roles"
        )
    f, p = np.nonzero(shown)
    kinds = [str(k) for k in data["prefix_type"].values]
    roles, keys = ([str(data[name].values[i]) for i in p] for name in ("role", "prompt"))
    ax = house.axes_or_new(ax, height=2.6)
    inks = [house.colour(r) for r in roles]
    house.intervals(ax, x[shown], y[shown], cell["lower"].values[shown], cell["upper"].values[shown], inks)
    house.points(ax, x[shown], y[shown], roles, [kinds[i] for i in f], 15.0)
    lines: list[str] = []
    for k, kind in enumerate(kinds):
        r = float(cell["r"].values[k])
        said = f"r = {r:.2f}" if np.isfinite(r) else f"no r below n = {data.attrs['show_from']}"
        lines.append(f"{kind}: n = {int(cell['n'].values[k])}, {said}")
        fit = fits.line(x[k], y[k]) if np.isfinite(r) else None
        if fit is not None:
            ends = np.array([x[k][shown[k]].min(), x[k][shown[k]].max()])
            ax.plot(ends, fit(ends), color="black", lw=0.8, ls=house.LINES.get(kind, "-"), zorder=1)
    low = float(np.fmin(cell["lower"].values, y)[shown].min())
    high = float(np.fmax(cell["upper"].values, y)[shown].max())
    ax.set_ylim(low - 0.05 * (high - low), high + 0.35 * (high - low))
    ax.margins(x=0.15)
    ax.text(0.03, 0.98, "\n".join(lines), transform=ax.transAxes, va="top", fontsize=6.5)
    house.zero(ax, y=True)
    at = np.column_stack([x[shown], y[shown]])
    tags = [house.signed(k, r) for k, r in zip(keys, roles, strict=True)]
    first = list({tag: i for i, tag in reversed(list(enumerate(tags)))}.values())[:10]
    PointLabels(ax, at[first, 0], at[first, 1], [tags[i] for i in first], [inks[i] for i in first], at)
    ax.set_xlabel(f"{WORDS.get(predictor, predictor)} (degrees)")
    ax.set_ylabel("other trait's suppression (pp)")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    level = "tokenwise" if tokenwise else "pointwise"
    house.describe(
        ax,
        f"Suppression of the trait the prompt does not ask for against {level} angles; "
        "the prompt itself is left out of any mean vector.",
        "Lines are 95 % paired t intervals; neutral prompts have no other trait.",
        house.left_out(data.attrs["left_out"]),
    )
    return ax
