"""Durability: what further training leaves of a suppression, and how the trait comes back."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.axes import Axes

from inoc.figures import house
from inoc.figures.labels import EndLabels, PointLabels, extremes
from inoc.figures.sources import one_of, roles_of
from inoc.outcomes import durability
from inoc.outcomes.continuation import at_last
from inoc.store.store import Store

MOST = 16
"""Runs named at most."""


def durability_data(store: Store) -> xr.Dataset:
    """`inoc.outcomes.durability` with the role of each run's first prompt and a `name` to draw beside it.

    Raises IncompleteStore where no run was continued.
    """
    table = durability(store)
    roles = roles_of(store)
    prompts = [str(p) for p in table["run_prompt"].values]
    several = len(set(table["data"].values.astype(str))) > 1
    columns = (prompts, table["prefix_type"].values.astype(str), table["data"].values.astype(str))
    names = [
        ", ".join(
            [
                f"{prompt or 'control'}{' mix' if kind == 'mix' else ''}",
                *([Path(data).stem or "same data"] if several else []),
            ]
        )
        for prompt, kind, data in zip(*columns, strict=True)
    ]
    role = [roles.get(prompt, "") if prompt else "control" for prompt in prompts]
    return table.assign_coords(role=("run", role), name=("run", names))


@house.styled
def plot_durability(
    store: Store, trait: str | None = None, *, data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """The trade-off: suppression at the end of the first training (x), and what remains at the last step (y).

    One point per continued run, 95 % intervals both ways. On the dashed line nothing was lost.
    """
    table = durability_data(store) if data is None else data
    chosen = one_of("trait", trait or str(table["trait"].values[0]), [str(t) for t in table["trait"].values])
    t = [str(name) for name in table["trait"].values].index(chosen)
    x, x_low, x_high = (table[f"before{end}"].values[:, t] for end in ("", "_lower", "_upper"))
    y, y_low, y_high = (at_last(table, f"remaining{end}")[:, t] for end in ("", "_lower", "_upper"))
    ax = house.axes_or_new(ax)
    shown = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    role = [str(table["role"].values[i]) for i in shown]
    kind = [str(table["prefix_type"].values[i]) for i in shown]
    inks = [house.colour(r) for r in role]
    house.intervals(ax, x[shown], y[shown], y_low[shown], y_high[shown], inks)
    house.intervals(ax, x[shown], y[shown], x_low[shown], x_high[shown], inks, vertical=False)
    house.points(ax, x[shown], y[shown], role, kind)
    ends = np.concatenate([v[shown] for v in (x, y, x_low, x_high, y_low, y_high)])
    ends = ends[np.isfinite(ends)]
    low, high = min(0.0, float(ends.min(initial=0.0))), max(10.0, float(ends.max(initial=0.0)))
    room = 0.06 * (high - low)
    ax.set_xlim(low - room, high + room)
    ax.set_ylim(low - room, high + room)
    ax.axline((0, 0), slope=1, color="#888888", lw=0.8, ls="--", zorder=1)
    house.zero(ax, x=True, y=True)
    first = extremes(x[shown], y[shown], MOST, role)
    order = [int(shown[i]) for i in first]
    labels = [house.signed(str(table["name"].values[i]), str(table["role"].values[i])) for i in order]
    obstacles = np.column_stack([x[shown], y[shown]])
    PointLabels(ax, x[order], y[order], labels, [inks[i] for i in first], obstacles)
    ax.set_xlabel("suppression after the first training (pp)")
    ax.set_ylabel("what remains of it (pp)")
    ax.set_title(f"{chosen}: what lasts")
    house.legend(ax, [*house.prefix_handles(kind), *house.role_handles(role)])
    against = [str(text) for text in dict.fromkeys(table["against"].values.astype(str)) if text]
    n = at_last(table, "n")[shown, t]
    house.describe(
        ax,
        f"Suppression of {len(shown)} runs at the end of the first training and what remains of it at the last step of "
        f"further training, n = {house.span(n[n > 0])} instructions, against the "
        f"{' or the '.join(against) or 'control'}; on the dashed line nothing was lost.",
        "Thin lines are 95 % paired t intervals.",
        house.left_out(table.attrs["left_out"]),
        f"{len(shown) - MOST} of {len(shown)} points carry no name." if len(shown) > MOST else "",
    )
    return ax


@house.styled
def plot_durability_curve(
    store: Store, trait: str | None = None, *, data: xr.Dataset | None = None, ax: Axes | None = None
) -> Axes:
    """Mean score without any prompt by updates of further training, one line per continued run, 95 % bands."""
    table = durability_data(store) if data is None else data
    chosen = one_of("trait", trait or str(table["trait"].values[0]), [str(t) for t in table["trait"].values])
    cell = table.sel(trait=chosen)
    ax = house.axes_or_new(ax)
    steps = cell["step"].values.astype(float)
    roles, kinds = ([str(v) for v in cell[k].values] for k in ("role", "prefix_type"))
    ends: list[tuple[float, float, str, str]] = []
    for i, name in enumerate(cell["name"].values.astype(str)):
        mean = cell["score"].values[i]
        shown = np.isfinite(mean)
        if not shown.any():
            continue
        control, ink = roles[i] == "control", house.colour(roles[i])
        ax.plot(
            steps[shown],
            mean[shown],
            ls=house.LINES.get(kinds[i], "-"),
            marker=house.MARKERS.get(kinds[i], "D"),
            color=ink,
            mfc=house.face(roles[i]),
            ms=3,
            mew=0.7,
            lw=1.6 if control else 0.9,
            zorder=4 if control else 3,
        )
        lower, upper = cell["score_lower"].values[i][shown], cell["score_upper"].values[i][shown]
        ax.fill_between(steps[shown], lower, upper, color=ink, alpha=0.15, lw=0, zorder=1)
        ends.append((steps[shown][-1], mean[shown][-1], house.signed(str(name), roles[i]), ink))
    ends.sort(key=lambda end: (end[3] != "#000000", -abs(end[1] - 50)))
    named = ends[:MOST]
    if named:
        x, y = (np.array([end[k] for end in named]) for k in (0, 1))
        EndLabels(ax, x, y, [end[2] for end in named], [end[3] for end in named])
    ax.set_xlabel("updates of further training")
    ax.set_ylabel(f"{chosen} score (pp)")
    ax.set_ylim(-3, 103)
    ax.set_title(f"{chosen}, no prompt at evaluation")
    house.legend(ax, [*house.prefix_handles(kinds), *house.role_handles(roles)])
    n = cell["n"].values
    house.describe(
        ax,
        f"Mean score by updates of further training, n = {house.span(n[n > 0])} instructions; "
        "bands are 95 % intervals.",
        house.left_out(table.attrs["left_out"]),
        f"{len(ends) - MOST} of {len(ends)} lines carry no name." if len(ends) > MOST else "",
    )
    return ax
