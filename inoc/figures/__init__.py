"""Figures: `plot_*` draw, `*_data` say what is drawn. Imported on first use; needs the extra `figures`."""

import importlib

_PLOTS: dict[str, str] = {
    "angle_categories": "angle_categories",
    "angle_heatmap": "angle_heatmap",
    "angle_map": "angle_map",
    "component_suppression": "component_suppression",
    "cross_angle": "cross_angle",
    "durability": "durability",
    "durability_curve": "durability",
    "elicitation": "elicitation",
    "final_scores": "final_scores",
    "gap_grid": "gap_grid",
    "heuristic_scatter": "heuristic_scatter",
    "leak_grid": "leak_grid",
    "loadings": "loadings",
    "losses": "losses",
    "misalignment": "misalignment",
    "performance_forest": "performance_forest",
    "position_means": "position_means",
    "recovered": "recovered",
    "spectrum": "spectrum",
    "token_differences": "token_differences",
    "token_loadings": "loadings",
    "training_curves": "training_curves",
}
_MODULES: dict[str, str] = {
    **{f"plot_{name}": f"inoc.figures.{module}" for name, module in _PLOTS.items()},
    **{f"{module}_data": f"inoc.figures.{module}" for module in _PLOTS.values()},
}

PLOTS = tuple(name for name in _MODULES if name.startswith("plot_"))
"""Names of the plot functions."""
__all__ = ["PLOTS", *_MODULES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'inoc.figures' has no attribute {name!r}")
    try:
        module = importlib.import_module(_MODULES[name])
    except ImportError as error:
        if (error.name or "").split(".")[0] != "matplotlib":
            raise
        from inoc.errors import BackendUnavailable

        raise BackendUnavailable("figures need matplotlib: pip install 'inoc[figures]'.") from error
    return getattr(module, name)


def __dir__() -> list[str]:
    return sorted(__all__)
