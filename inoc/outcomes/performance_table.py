"""The performance table: which base-model heuristic goes with what training did, and how surely."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float64, Shaped

from inoc.errors import BadInput, IncompleteStore
from inoc.names import unknown
from inoc.outcomes.calibration import error, share
from inoc.outcomes.candidates import MEAN, Candidate
from inoc.outcomes.correlation import bootstrap_r, correlate, holm, p_values, within_cells
from inoc.outcomes.estimators import Monotone
from inoc.outcomes.selection import Sample, left_out
from inoc.outcomes.tidy import BASELINE, full_names, packages, rows
from inoc.store.store import Store
from inoc.values import Recipe

Column = Float64[np.ndarray, " row"]
Mask = Bool[np.ndarray, " row"]
TARGETS = ("all", "fixed", "mix", "cross", "gap")
"""Suppression of all rows, of the fixed, of the mix rows; cross-trait suppression; gap (at the mix rows)."""
FEWEST_ROWS = 4
"""Rows below which no curve is fitted."""
COVERED = 0.75
"""Share of a target's rows a heuristic must cover to stay in the common row set of `corrected`."""
CURVE = Candidate("monotone", ("x",), Monotone, pooled=True)
"""The predictor behind the errors: one curve for all rows of a target."""
MEAN_OF_ALL = replace(MEAN, pooled=True)
ERRORS = ("family_error", "experiment_error")

_NAMES = {
    "r": "Pearson correlation",
    "r_lower": "lower end of its 95 % prompt-bootstrap interval (BCa)",
    "r_upper": "upper end of its 95 % prompt-bootstrap interval (BCa)",
    "rho": "Spearman correlation",
    "n": "rows",
    "prompts": "distinct prompts among the rows",
    "within_r": "Fisher-z mean of r within experiment x trait x prefix type",
    "within_lower": "lower end of its 95 % interval",
    "within_upper": "upper end of its 95 % interval",
    "within_n": "rows in cells of at least 4",
    "p_holm": "two-sided p of r, prompts as sample, Holm-corrected over the package's heuristics of the target",
    "family_error": "leave-one-family-out error of a monotone predictor (RMSE)",
    "experiment_error": "leave-one-experiment-out error of a monotone predictor (RMSE)",
}


def performance(
    stores: Store | Sequence[Store],
    heuristics: Sequence[str] | None = None,
    *,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
    resamples: int = 2000,
    seed: int = 0,
) -> xr.Dataset:
    """Every heuristic (or the named ones) against what training did.

    Args:
        stores: One store or several with evaluated runs and logprobs.
        heuristics: Names or symbols; all if not given.
        recipe: "corrected" or "published", see `performance_of`.
        step: The step to use for every run; None for the final one.
        include_flagged: Keep runs whose late steps contradict each other.
        resamples: Prompt-bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Dims heuristic, target; see `performance_of` for the variables.

    Raises:
        IncompleteStore: A store has no evaluated run, no control run, no logprobs or none of the heuristics.
        BadInput: An unknown heuristic; judges that differ.

    Examples:
        >>> inoc.outcomes.performance(store, ["ph", "elicitation"], resamples=100)["r"].dims
        ('heuristic', 'target')
    """
    wanted = None if heuristics is None else full_names(heuristics)
    table = rows(stores, only=wanted, recipe=recipe, step=step, include_flagged=include_flagged)
    return performance_of(table, wanted, recipe=recipe, resamples=resamples, seed=seed)


def performance_of(
    table: xr.Dataset,
    heuristics: Sequence[str] | None = None,
    *,
    recipe: Recipe = "corrected",
    resamples: int = 2000,
    seed: int = 0,
) -> xr.Dataset:
    """`performance` of a tidy table of rows.

    `corrected`: on-target rows only and one common row set per target: rows where every heuristic of inoc is finite;
    heuristics finite on fewer than 75 % of the rows are left out of that set and get no numbers. A heuristic of
    another package is seen on what it has of the common set, and p is corrected within each package: a plugin moves
    no number of ours. `published`: every row, each heuristic over what is finite. Below 8 distinct prompts there is
    no correlation, no interval and no p.

    Args:
        table: What `rows` returns.
        heuristics: Names in the table, `pca` for all of `pca[1]`, `pca[2]`, ...; all if not given.
        recipe: "corrected" or "published".
        resamples: Prompt-bootstrap draws.
        seed: Seed of the draws.

    Returns:
        Dims heuristic, target (`all`, `fixed`, `mix`: suppression; `cross`: suppression of the other trait; `gap`: at
        the mix rows): `r`, `rho`, `n`, `prompts`, `r_lower`, `r_upper` (prompts drawn again), `within_r` and its
        interval (inside experiment x trait x prefix type), `p_holm` (within the heuristics of one package),
        `family_error`, `experiment_error` (pp, RMSE on what the predictor has not seen); `reason` says why a cell has
        no r. Per target `*_elicitation` and `*_constant`: the same errors of elicitation alone and of the mean, on the
        same rows.

    Raises:
        BadInput: A heuristic is not in the table.
        IncompleteStore: The store gives none of the heuristics.
    """
    names = [str(name) for name in table["heuristic"].values]
    absent = [str(line) for line in table.attrs.get("absent", [])]
    chosen = choose(names, heuristics, absent)
    x = np.asarray(table["heuristic_value"].values, dtype=np.float64)
    shape = (len(chosen), len(TARGETS))
    numbers = {name: np.full(shape, np.nan) for name in _NAMES}
    elicitation = x[names.index(BASELINE)] if BASELINE in names else np.full(x.shape[1], np.nan)
    baselines = {BASELINE: elicitation, "constant": None}
    references = {f"{e}_{kind}": np.full(len(TARGETS), np.nan) for e in ERRORS for kind in baselines}
    reason = np.full(shape, "", dtype=object)
    package = packages([names[i] for i in chosen])
    own = np.array([name == "inoc" for name in package], dtype=bool)
    for t, target in enumerate(TARGETS):
        y, control, used = _target(table, target, recipe)
        finite = np.isfinite(x[chosen]) & (np.isfinite(y) & used)
        kept = np.ones(len(chosen), dtype=bool)
        if recipe == "corrected":
            total = max(int((np.isfinite(y) & used).sum()), 1)
            kept = finite.sum(axis=1) / total >= COVERED
            finite = finite & finite[kept & own].all(axis=0) & kept[:, None]
        for h, column in enumerate(chosen):
            values, why = _cell(table, x[column], y, control, finite[h], resamples, seed)
            for name, value in values.items():
                numbers[name][h, t] = value
            reason[h, t] = _reason(why, bool(kept[h]), np.isfinite(x[column]) & used, np.isfinite(y) & used)
        p = p_values(numbers["r"][:, t], numbers["prompts"][:, t])
        for source in dict.fromkeys(package):
            family = np.array([name == source for name in package], dtype=bool)
            numbers["p_holm"][family, t] = holm(p[family])
        seen = kept & own if (kept & own).any() else kept
        common = np.asarray(finite[seen].all(axis=0)) if seen.any() else np.zeros(y.size, dtype=bool)
        for kind, values in baselines.items():
            for e, value in _errors(table, values, y, control, common).items():
                references[f"{e}_{kind}"][t] = value
    bases = None if heuristics is None else {name.split("[")[0] for name in heuristics}
    result = _labeled([names[i] for i in chosen], numbers, references)
    result["reason"] = (("heuristic", "target"), reason)
    result = result.assign(package=("heuristic", package)).set_coords("package")
    corrected = recipe == "corrected"
    return result.assign_attrs(
        recipe=recipe,
        rows="on target, one common set per target" if corrected else "all, each what is finite",
        left_out=list(table.attrs.get("left_out", [])),
        absent=[line for line in absent if bases is None or line.split(": ")[0] in bases],
    )


def choose(names: Sequence[str], wanted: Sequence[str] | None, absent: Sequence[str] = ()) -> list[int]:
    """Places of the wanted heuristics (all when None); `pca` includes `pca[1]`, `pca[2]`, ... too.

    `absent`: "name: reason" of those that could not be computed; they are passed over. Raises BadInput for an
    unknown name, IncompleteStore where nothing is left.
    """
    if wanted is None:
        return list(range(len(names)))
    places: list[int] = []
    reasons: list[str] = []
    for name in wanted:
        exact = [names.index(name)] if name in names else []
        found = exact or [i for i, known in enumerate(names) if known.split("[")[0] == name]
        reason = [line for line in absent if line.split(": ")[0] == name.split("[")[0]]
        if not found and not reason:
            raise BadInput(unknown("heuristic", name, names))
        places += [i for i in found if i not in places]
        reasons += reason
    if not places:
        raise IncompleteStore(f"the store gives no heuristic of those named: {'; '.join(reasons)}.")
    return places


def _target(table: xr.Dataset, target: str, recipe: Recipe) -> tuple[Column, Column, Mask]:
    """The target's values, the control score they are a part of, and the rows it has."""
    kind = table["prefix_type"].values.astype(str)
    used = np.ones(kind.size, dtype=bool) if recipe == "published" else table["on_target"].values.astype(bool)
    if target in ("fixed", "mix"):
        used = used & (kind == target)
    elif target == "gap":
        used = used & (kind == "mix")
    y = table[target if target in ("cross", "gap") else "suppression"]
    control = table["cross_control" if target == "cross" else "control"]
    return y.values.astype(np.float64), control.values.astype(np.float64), used


def _cell(
    table: xr.Dataset, x: Column, y: Column, control: Column, used: Mask, resamples: int, seed: int
) -> tuple[dict[str, float], str]:
    """All numbers of one heuristic and target but the p-value, and why there is no correlation."""
    prompt = _labels(table, "experiment", "prompt")
    cells = _labels(table, "experiment", "trait", "prefix_type")
    found = correlate(x[used], y[used], prompt[used])
    lower, upper = bootstrap_r(x[used], y[used], prompt[used], resamples=resamples, seed=seed)
    within = within_cells(x[used], y[used], cells[used], prompt[used])
    result = {"r": found.r, "r_lower": lower, "r_upper": upper, "rho": found.rho}
    result |= {"n": float(found.n), "prompts": float(found.prompts)}
    result |= dict(zip(("within_r", "within_lower", "within_upper", "within_n"), map(float, within), strict=True))
    return result | _errors(table, x, y, control, used), found.reason


def _errors(table: xr.Dataset, x: Column | None, y: Column, control: Column, used: Mask) -> dict[str, float]:
    """Left-out errors of a monotone predictor on x, or of the mean (x None)."""
    if used.sum() < FEWEST_ROWS:
        return dict.fromkeys(ERRORS, np.nan)
    labels = {name: _labels(table, name)[used] for name in ("prompt", "family", "experiment", "prefix_type")}
    column = np.zeros(int(used.sum())) if x is None else x[used]
    sample = Sample(("x",), column[:, None], share(y[used], control[used]), control[used], *labels.values())
    return {
        name: error(left_out(MEAN_OF_ALL if x is None else CURVE, sample, labels[group]) * control[used], y[used])
        for name, group in zip(ERRORS, ("family", "experiment"), strict=True)
    }


def _labels(table: xr.Dataset, *names: str) -> Shaped[np.ndarray, " row"]:
    """One label per row, joined from coordinates."""
    columns = [table[name].values.astype(str).tolist() for name in names]
    return np.array(["\t".join(parts) for parts in zip(*columns, strict=True)], dtype=str)


def _reason(why: str, kept: bool, known: Mask, measured: Mask) -> str:
    """Why a cell has no correlation: what is missing first, then what the correlation itself says."""
    if not why:
        return ""
    if not measured.any():
        return "no row has this outcome"
    if not known.any():
        return "no value for any row"
    if not kept:
        return f"known for fewer than {COVERED:.0%} of the rows"
    if not (known & measured).any():
        return "no row has both this heuristic and this outcome"
    return why


def _labeled(
    names: Sequence[str], numbers: Mapping[str, np.ndarray], references: Mapping[str, np.ndarray]
) -> xr.Dataset:
    result = xr.Dataset(coords={"heuristic": list(names), "target": list(TARGETS)})
    for name, values in numbers.items():
        whole = name in ("n", "prompts", "within_n")
        attrs = {"units": "pp" if name in ERRORS else "1", "long_name": _NAMES[name]}
        filled = np.nan_to_num(values).astype(np.int64) if whole else values
        result[name] = (("heuristic", "target"), filled, attrs)
    for name, values in references.items():
        error, kind = name.rsplit("_", 1)
        result[name] = ("target", values, {"units": "pp", "long_name": f"{_NAMES[error]}, {kind} only"})
    return result
