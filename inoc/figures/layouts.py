"""How the panels of each figure are laid out, and what several figures need of a store, computed once."""

# matplotlib's stubs leave some argument types unknown
# pyright: reportUnknownMemberType=false

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any, cast

import xarray as xr
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from inoc.errors import IncompleteStore
from inoc.figures import house
from inoc.figures.angle_categories import plot_angle_categories
from inoc.figures.angle_heatmap import plot_angle_heatmap
from inoc.figures.angle_map import plot_angle_map
from inoc.figures.component_suppression import plot_component_suppression
from inoc.figures.cross_angle import WORDS, plot_cross_angle
from inoc.figures.durability import durability_data, plot_durability, plot_durability_curve
from inoc.figures.elicitation import plot_elicitation
from inoc.figures.final_scores import Quantity, final_scores_data, plot_final_scores
from inoc.figures.heuristic_scatter import Target, plot_heuristic_scatter
from inoc.figures.leak_grid import leak_grid_data, plot_leak_grid
from inoc.figures.losses import losses_data, plot_losses
from inoc.figures.misalignment import misalignment_data, plot_misalignment
from inoc.figures.performance_forest import performance_forest_data, plot_performance_forest
from inoc.figures.position_means import plot_position_means, position_means_data
from inoc.figures.spectrum import Kind, plot_spectrum
from inoc.figures.token_differences import plot_token_differences, token_differences_data
from inoc.figures.training_curves import plot_training_curves, training_curves_data
from inoc.store.store import Store

SCATTERED = ("ph", "elicitation", "gamma", "snr", "mald", "pca")
"""Heuristics of the small multiples unless others are asked for."""


class Source:
    """A store and what several figures need of it, computed once."""

    def __init__(self, store: Store, scattered: Sequence[str] = SCATTERED) -> None:
        self.store, self.scattered = store, tuple(scattered)

    @cached_property
    def heuristics(self) -> xr.Dataset:
        """All heuristics."""
        from inoc.heuristics.frame.resolve import compute

        if not self.store.completion_sets:
            raise IncompleteStore("the store has no base-model logprobs; `inoc score` makes them")
        return compute(self.store)

    @cached_property
    def rows(self) -> xr.Dataset:
        """The tidy table of heuristics and outcomes."""
        from inoc.outcomes import rows

        return rows(self.store, self.heuristics)

    @property
    def traits(self) -> list[str]:
        """Names of the traits."""
        return [trait.name for trait in self.store.traits]

    @property
    def prefix_types(self) -> list[str]:
        """Prefix types that were scored."""
        return (
            [str(k) for k in self.heuristics["prefix_type"].values]
            if "prefix_type" in self.heuristics
            else []
        )


Panel = Callable[[Axes], Axes]


def panels(made: Sequence[Panel], columns: int, height: float, width: float = house.PAGE) -> Figure:
    """Panels side by side, `columns` in a row, `height` inches each row."""
    if not made:
        raise IncompleteStore(
            "the store names no traits; `inoc import --prompts` or an experiment file says them"
        )
    rows = -(-len(made) // columns)
    figure, axes = house.grid(rows, columns, width, rows * height)
    for draw, ax in zip(made, axes, strict=False):
        draw(ax)
    for ax in axes[len(made) :]:
        ax.remove()
    return figure


def curves(s: Source, log: bool) -> Figure:
    data = training_curves_data(s.store)
    if log and int((data["step"] > 0).sum()) < 3:
        raise IncompleteStore(
            "fewer than 3 steps after step 0 are stored: a logarithmic axis shows nothing more"
        )
    conditions = [str(c) for c in data["condition"].values if str(c) in ("default", "training")]
    return panels(
        [
            lambda ax, t=t, c=c: plot_training_curves(s.store, t, c, log=log, data=data, ax=ax)
            for t in s.traits
            for c in conditions
        ],
        len(conditions),
        2.7,
    )


def losses(s: Source) -> Figure:
    both = bool(losses_data(s.store)["minus_control"].notnull().any())
    return panels(
        [
            lambda ax, m=m: plot_losses(s.store, minus_control=m, ax=ax)
            for m in ((False, True) if both else (False,))
        ],
        2 if both else 1,
        2.9,
        house.PAGE if both else house.COLUMN,
    )


def bars(s: Source, quantity: Quantity) -> Figure:
    data = final_scores_data(s.store)
    prompts = len(set(map(str, data["run_prompt"].values)) - {""})
    return panels(
        [lambda ax, t=t: plot_final_scores(s.store, t, quantity, data=data, ax=ax) for t in s.traits],
        2,
        house.row_height(prompts, 17.0, 0.9),
    )


def elicitation(s: Source) -> Figure:
    n = s.heuristics.sizes["prompt"]
    return panels(
        [lambda ax, t=t: plot_elicitation(s.store, t, heuristics=s.heuristics, ax=ax) for t in s.traits],
        2,
        house.row_height(n),
    )


def scatter(s: Source, target: Target) -> Figure:
    return panels(
        [
            lambda ax, h=h: plot_heuristic_scatter(
                s.store, h, target, sigmoid=True, names=4, heuristics=s.heuristics, table=s.rows, ax=ax
            )
            for h in s.scattered
        ],
        2 if len(s.scattered) > 1 else 1,
        2.3,
    )


def spectrum(s: Source, kind: Kind, tokenwise: bool) -> Figure:
    from inoc.figures.spectrum import spectrum_data

    data = spectrum_data(s.store, kind, tokenwise=tokenwise, heuristics=s.heuristics)
    kinds = [str(k) for k in data["prefix_type"].values]
    common: dict[str, Any] = {"tokenwise": tokenwise, "heuristics": s.heuristics}
    made: list[Panel] = [
        lambda ax, k=k: plot_spectrum(s.store, kind, "role", prefix_type=k, ax=ax, **common) for k in kinds
    ]
    first = kinds[0]
    made.append(lambda ax: plot_spectrum(s.store, kind, "ph", prefix_type=first, names=6, ax=ax, **common))
    for t in s.traits:
        if bool(data["suppression"].sel(trait=t, prefix_type=first).notnull().any()):
            made.append(
                lambda ax, t=t: plot_spectrum(
                    s.store, kind, "suppression", prefix_type=first, trait=t, ax=ax, **common
                )
            )
    return panels(made, 2, 2.7)


def by_type(s: Source, plot: Callable[..., Axes], height: float = 2.8, **options: object) -> Figure:
    """One panel per prefix type."""
    kinds = s.prefix_types
    return panels(
        [lambda ax, k=k: plot(s.store, prefix_type=k, ax=ax, **options) for k in kinds],
        min(2, len(kinds)),
        height,
        house.PAGE if len(kinds) > 1 else house.COLUMN,
    )


def heatmap(s: Source, prefix_type: str, tokenwise: bool) -> Figure:
    if prefix_type not in s.prefix_types:
        raise IncompleteStore(f"no logprobs of prefix type {prefix_type} are stored")
    return figure_of(
        plot_angle_heatmap(s.store, prefix_type=prefix_type, tokenwise=tokenwise, heuristics=s.heuristics)
    )


def categories(s: Source, tokenwise: bool) -> Figure:
    return panels(
        [
            lambda ax, r=r: plot_angle_categories(
                s.store, representation=r, tokenwise=tokenwise, heuristics=s.heuristics, ax=ax
            )
            for r in ("raw", "svd2", "pca2")
        ],
        3,
        2.2,
    )


def angle_map(s: Source, tokenwise: bool) -> Figure:
    return by_type(s, plot_angle_map, tokenwise=tokenwise, heuristics=s.heuristics)


def components(s: Source, tokenwise: bool) -> Figure:
    return panels(
        [
            lambda ax, c=c, t=t: plot_component_suppression(
                s.store, c, t, tokenwise=tokenwise, heuristics=s.heuristics, ax=ax
            )
            for c in (1, 2)
            for t in s.traits
        ],
        max(len(s.traits), 1),
        2.3,
    )


def cross_angles(s: Source, tokenwise: bool) -> Figure:
    return panels(
        [
            lambda ax, p=p: plot_cross_angle(s.store, p, tokenwise=tokenwise, heuristics=s.heuristics, ax=ax)
            for p in WORDS
        ],
        2,
        2.2,
    )


def forest(s: Source) -> Figure:
    data = performance_forest_data(s.store, table=s.rows)
    targets = [str(t) for t in data["target"].values if bool(data["r"].sel(target=t).notnull().any())]
    chosen = [t for t in ("all", "cross", "gap") if t in targets]
    if not chosen:
        raise IncompleteStore("no heuristic has a correlation: too few trained prompts")
    return panels(
        [lambda ax, t=t: plot_performance_forest(s.store, t, data=data, ax=ax) for t in chosen],
        len(chosen),
        house.row_height(25, 9.5, 0.9),
    )


def differences(s: Source) -> Figure:
    data = token_differences_data(s.store)
    return panels(
        [
            lambda ax, k=str(k), w=w: plot_token_differences(s.store, w, prefix_type=k, data=data, ax=ax)
            for k in data["prefix_type"].values
            for w in ("ccdf", "histogram")
        ],
        2,
        2.5,
    )


def positions(s: Source) -> Figure:
    data = position_means_data(s.store)
    return by_type(s, plot_position_means, data=data)


def leaks(s: Source) -> Figure:
    data = leak_grid_data(s.store)
    high = house.row_height(data.sizes["run"], 15.0, 1.6)
    return panels([lambda ax, t=t: plot_leak_grid(s.store, t, data=data, ax=ax) for t in s.traits], 1, high)


def durable(s: Source) -> Figure:
    data = durability_data(s.store)
    plots = (plot_durability, plot_durability_curve)
    return panels(
        [lambda ax, t=t, p=p: p(s.store, t, data=data, ax=ax) for t in s.traits for p in plots], 2, 2.8
    )


def misaligned(s: Source) -> Figure:
    data = misalignment_data(s.store)
    sets = [str(name) for name in data["evaluation_set"].values]
    return panels(
        [lambda ax, e=e: plot_misalignment(s.store, evaluation_set=e, data=data, ax=ax) for e in sets],
        len(sets),
        house.row_height(data.sizes["run"], 12.0),
        house.PAGE if len(sets) > 1 else house.COLUMN,
    )


def figure_of(ax: Axes) -> Figure:
    return cast(Figure, ax.get_figure(root=True))
