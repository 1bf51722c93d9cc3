"""Suppression, cross-trait suppression, gap and score levels: labelled tables with 95 % intervals.

All in percentage points (pp) of a 0-100 judge score, default condition, final step.
"""

# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false

import json
from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int

from inoc.errors import IncompleteStore
from inoc.intervals import Interval, mean_z, paired_t
from inoc.outcomes.final import FinalScores, check_judges, final_scores
from inoc.store.store import Store
from inoc.values import Recipe

NO_RUNS = (
    "the store {path} has no training runs yet, so there is nothing to compare; `inoc train` and "
    "`inoc evaluate` make them, or `inoc import --scores` reads them from a file."
)


NOT_SHARED = ("checkpoints", "start", "trained_with")
"""Training settings in which a run and its control may differ."""


def run_scores(store: Store) -> xr.Dataset:
    """The scores of all training runs in the store; IncompleteStore where there are none."""
    scores = store.scores
    if scores is None or scores.sizes.get("run", 0) == 0:
        raise IncompleteStore(NO_RUNS.format(path=store.path.name))
    return with_setup(scores, {name: run.settings for name, run in store.runs.items()})


def with_setup(scores: xr.Dataset, settings: Mapping[str, Mapping[str, object]]) -> xr.Dataset:
    """Scores with what a run must share with its control: coordinates `setup` and `continues` on run.

    Evaluations of a leak grid, which are no runs of their own, are dropped.
    """
    names = [str(name) for name in scores["run"].values]
    kept = [i for i, name in enumerate(names) if "leak_of" not in settings[name]]
    shared = [{k: v for k, v in settings[name].items() if k not in NOT_SHARED} for name in names]
    return scores.assign_coords(
        setup=("run", [json.dumps(values, sort_keys=True, default=str) for values in shared]),
        continues=("run", [str(settings[name].get("start") or "") for name in names]),
    ).isel(run=kept)


def suppression(
    store: Store, *, recipe: Recipe = "corrected", step: int | None = None, include_flagged: bool = False
) -> xr.Dataset:
    """How much each prompt kept each trait quiet: control-run score minus run score.

    d_i = control_i - run_i, paired by instruction (both finite). Dims run, trait; variables `mean`, `lower`,
    `upper` (paired t interval), `n` (pairs), `control` (mean score of the control over the same pairs),
    `judge`, and `flags` (run): why a run is doubtful or left out, "" if neither. A run that is left out
    keeps its row, with NaN. Raises IncompleteStore without runs or control, BadInput where two judges would
    be subtracted.
    """
    chosen = final_scores(run_scores(store), recipe=recipe, step=step, include_flagged=include_flagged)
    return suppression_of(chosen, recipe=recipe)


def suppression_of(final: FinalScores, *, recipe: Recipe = "corrected") -> xr.Dataset:
    """`suppression` of scores already picked."""
    check_judges(final, recipe)
    trained = [i for i, prompt in enumerate(final.prompt) if prompt]
    table = [
        [paired_t(final.control[i, t], final.score[i, t]) for t in range(len(final.trait))] for i in trained
    ]
    both = np.isfinite(final.control) & np.isfinite(final.score)
    result = _table(table, ("run", "trait"), "suppression", (len(trained), len(final.trait)))
    result["control"] = (("run", "trait"), _masked_mean(final.control, both)[trained])
    result["control"].attrs = {"units": "pp", "long_name": "mean control score over the same instructions"}
    result["judge"] = (("run", "trait"), final.judge[trained])
    return _labelled(result, final, trained, recipe)


def cross_suppression(
    store: Store, *, recipe: Recipe = "corrected", step: int | None = None, include_flagged: bool = False
) -> xr.Dataset:
    """Suppression of the *other* trait by the same run: row (run, trait) holds what happened to the other
    one.

    Same variables as `suppression`, plus `other` (trait): the trait that was measured. NaN unless the
    experiment has exactly two traits.
    """
    return cross_of(suppression(store, recipe=recipe, step=step, include_flagged=include_flagged))


def cross_of(table: xr.Dataset) -> xr.Dataset:
    """`cross_suppression` from a suppression table."""
    traits = [str(name) for name in table["trait"].values]
    if len(traits) == 2:
        swapped = table.isel(trait=[1, 0]).assign_coords(trait=traits)
        other = traits[::-1]
    else:
        swapped = table.copy(deep=True)
        for name in ("mean", "lower", "upper"):
            swapped[name] = swapped[name] * np.nan
        swapped["n"] = swapped["n"] * 0
        other = [""] * len(traits)
    swapped = swapped.assign_coords(other=("trait", other))
    swapped["mean"].attrs = {"units": "pp", "long_name": "suppression of the other trait"}
    swapped.attrs = dict(table.attrs)
    return swapped


def gap(
    store: Store, *, recipe: Recipe = "corrected", step: int | None = None, include_flagged: bool = False
) -> xr.Dataset:
    """What a prompt loses when it is reworded per example: fixed suppression minus mix suppression.

    The control cancels, so `corrected` takes the paired difference mix_i - fixed_i of the two runs' scores
    per instruction, with its paired t interval. `published` subtracts the two suppressions and gives no
    interval. Dims prompt, trait; coordinates `seed`, `fixed_run`, `mix_run` on prompt. A prompt trained with
    several seeds has one row per seed. Prompts without both runs are named in the attribute `left_out`.
    """
    chosen = final_scores(run_scores(store), recipe=recipe, step=step, include_flagged=include_flagged)
    return gap_of(chosen, recipe=recipe)


def gap_of(final: FinalScores, *, recipe: Recipe = "corrected") -> xr.Dataset:
    """`gap` of scores already picked."""
    check_judges(final, recipe)
    runs = {
        (prompt, kind, int(seed)): i
        for i, (prompt, kind, seed) in enumerate(
            zip(final.prompt, final.prefix_type, final.seed, strict=True)
        )
        if prompt
    }
    pairs = [
        (prompt, seed, i, runs[prompt, "mix", seed])
        for (prompt, kind, seed), i in runs.items()
        if kind == "fixed" and (prompt, "mix", seed) in runs
    ]
    table = [[_gap(final, f, m, t, recipe) for t in range(len(final.trait))] for _, _, f, m in pairs]
    result = _table(table, ("prompt", "trait"), "gap", (len(pairs), len(final.trait)))
    paired = {prompt for prompt, *_ in pairs}
    alone = dict.fromkeys(prompt for prompt in final.prompt if prompt and prompt not in paired)
    result = result.assign_coords(
        prompt=("prompt", [prompt for prompt, *_ in pairs]),
        trait=("trait", list(final.trait)),
        seed=("prompt", [seed for _, seed, _, _ in pairs]),
        fixed_run=("prompt", [final.run[f] for _, _, f, _ in pairs]),
        mix_run=("prompt", [final.run[m] for _, _, _, m in pairs]),
    )
    result["flags"] = (
        "prompt",
        ["; ".join(flag for flag in (final.flag[f], final.flag[m]) if flag) for _, _, f, m in pairs],
    )
    result.attrs = {
        "recipe": recipe,
        "left_out": [
            *final.left_out,
            *(f"{prompt}: only one of fixed and mix was trained" for prompt in alone),
        ],
    }
    return result


def levels(store: Store) -> xr.Dataset:
    """The mean score of every run at every step, condition and trait, +/- 1.96 sd / sqrt(n) (ddof 1).

    Dims run, step, condition, trait; variables `mean`, `lower`, `upper`, `n`. Nothing is left out or flagged
    here.
    """
    scores = run_scores(store)
    dims = ("run", "step", "condition", "trait")
    values = np.asarray(scores["score"].transpose(*dims, "instruction").values, dtype=np.float64)
    flat = [[mean_z(row)] for row in values.reshape(-1, values.shape[-1])]
    table = _table(flat, ("cell", "one"), "score", (len(flat), 1))
    result = xr.Dataset(
        {name: (dims, table[name].values.reshape(values.shape[:-1]), table[name].attrs) for name in table},
        coords={
            name: scores[name] for name in (*dims, "run_prompt", "prefix_type", "seed") if name in scores
        },
    )
    return result


def _gap(final: FinalScores, fixed: int, mix: int, trait: int, recipe: Recipe) -> Interval:
    if recipe == "corrected":
        return paired_t(final.score[mix, trait], final.score[fixed, trait])
    of_fixed, of_mix = mean_z(final.score[fixed, trait]), mean_z(final.score[mix, trait])
    return Interval(of_mix.estimate - of_fixed.estimate, np.nan, np.nan, min(of_fixed.n, of_mix.n))


def _table(
    rows: Sequence[Sequence[Interval]], dims: tuple[str, str], name: str, shape: tuple[int, int]
) -> xr.Dataset:
    """A Dataset of mean, lower, upper, n from a table of intervals."""
    numbers = np.array([[tuple(cell) for cell in row] for row in rows], dtype=np.float64).reshape((*shape, 4))
    n: Int[np.ndarray, "row column"] = numbers[..., 3].astype(np.int64)
    result = xr.Dataset({part: (dims, numbers[..., i]) for i, part in enumerate(("mean", "lower", "upper"))})
    result["n"] = (dims, n)
    for part in ("mean", "lower", "upper"):
        bound = "" if part == "mean" else f", {part} end of the 95 % interval"
        result[part].attrs = {"units": "pp", "long_name": f"{name}{bound}"}
    result["n"].attrs = {"units": "1", "long_name": "instructions used"}
    return result


def _labelled(result: xr.Dataset, final: FinalScores, rows: Sequence[int], recipe: Recipe) -> xr.Dataset:
    result = result.assign_coords(
        run=("run", [final.run[i] for i in rows]),
        trait=("trait", list(final.trait)),
        run_prompt=("run", [final.prompt[i] for i in rows]),
        prefix_type=("run", [final.prefix_type[i] for i in rows]),
        seed=("run", final.seed[list(rows)]),
        step=("run", final.step[list(rows)]),
    )
    result["flags"] = ("run", [final.flag[i] for i in rows])
    result.attrs = {"recipe": recipe, "left_out": list(final.left_out)}
    return result


def _masked_mean(
    values: Float64[np.ndarray, "run trait instruction"], used: np.ndarray
) -> Float64[np.ndarray, "run trait"]:
    count = used.sum(axis=2)
    total = np.where(used, values, 0.0).sum(axis=2)
    return np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
