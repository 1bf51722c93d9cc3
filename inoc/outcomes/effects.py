"""Suppression, cross-trait suppression, gap and score levels: labeled tables with 95 % intervals.

All in percentage points (pp) of a 0-100 judge score, default condition, final step.
"""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.intervals import Interval, mean_level, mean_z, over_seeds, paired_t
from inoc.outcomes.calibration import LEAK, control_lacks
from inoc.outcomes.final import FinalScores, all_scores, check_judges, final_scores, run_scores, with_setup
from inoc.store.store import Store
from inoc.values import Recipe

Over = Literal["runs", "seeds"]
"""What a row is: one run, or the runs of one line of the experiment that differ in their seed."""


def suppression(
    store: Store,
    *,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
    over: Over = "runs",
    questions: str = "",
) -> xr.Dataset:
    """How much less of each trait a run shows than the control: suppression of a leak, loss of what is wanted.

    d_i = control_i - run_i, paired by question (both finite). Of a trait whose score is better at the other end
    (`inverted`), 100 minus the score is taken first: less of the trait is always positive.

    Args:
        store: A store with evaluated runs, one of them a control.
        recipe: "corrected", or "published" (largest stored step, judges may differ).
        step: The step to use for every run; None for the final one.
        include_flagged: Keep runs whose late steps contradict each other.
        over: "runs", or "seeds": runs of known seeds that are alike in all else become one row, named after the first,
            with the interval of `inoc.intervals.over_seeds`.
        questions: Only those of this named file; "" pools the questions of all files.

    Returns:
        Dims run, trait: `mean`, `lower`, `upper` (pp, paired t interval), `n` (pairs), `control` (pp, mean
        control score over the same pairs), `judge`; `seeds` (run), how many are pooled. `flags` (run) says why a run
        is doubtful or left out, "" if neither; a run that is left out keeps its row, with NaN. Coordinates of trait:
        `role`, `effect` ("loss" of a positive trait, else "suppression") and `inverted`.

    Raises:
        IncompleteStore: The store has no evaluated run, or no control run.
        BadInput: Scores of two judges would be subtracted, or no run was evaluated at `step`.

    Examples:
        >>> inoc.outcomes.suppression(store)["mean"].dims
        ('run', 'trait')
    """
    chosen = final_scores(run_scores(store, questions), recipe=recipe, step=step, include_flagged=include_flagged)
    return suppression_of(chosen, recipe=recipe, over=over)


def control_levels(store: Store, *, recipe: Recipe = "corrected", step: int | None = None) -> dict[str, float]:
    """Trait -> its mean score (0-100) over the control runs at the final step; empty without a control run."""
    try:
        final = final_scores(run_scores(store), recipe=recipe, step=step)
    except IncompleteStore:
        return {}
    controls = [i for i, kind in enumerate(final.prefix_type) if kind == "none"]
    means = {trait: mean_of_finite(final.score[controls, t].ravel()) for t, trait in enumerate(final.trait)}
    return {trait: float(mean) for trait, mean in means.items() if np.isfinite(mean)}


def control_warnings(store: Store, *, recipe: Recipe = "corrected", step: int | None = None) -> list[str]:
    """Warnings about traits that the control run hardly shows.

    Args:
        store, recipe, step: As of `suppression`.

    Returns:
        One sentence per trait; empty without a control run.
    """
    levels = control_levels(store, recipe=recipe, step=step)
    return [control_lacks(trait, level) for trait, level in levels.items() if level < LEAK]


def suppression_of(final: FinalScores, *, recipe: Recipe = "corrected", over: Over = "runs") -> xr.Dataset:
    """`suppression` of scores that are already picked."""
    check_judges(final, recipe)
    lines = _lines(final, [i for i, prompt in enumerate(final.prompt) if prompt], recipe, over)
    trained = [line[0] for line in lines]
    known = [_with_score(final, line) for line in lines]
    cells = [
        [_pooled(final.control[line, t], final.score[line, t], over) for t in range(len(final.trait))] for line in known
    ]
    result = _table(cells, ("run", "trait"), "suppression", (len(lines), len(final.trait)))
    pairs = np.where(np.isfinite(final.score), final.control, np.nan)
    controls = [mean_of_finite(np.moveaxis(pairs[line], 0, -2).reshape(len(final.trait), -1)) for line in known]
    result["control"] = (("run", "trait"), np.array(controls, dtype=np.float64).reshape(len(lines), len(final.trait)))
    result["control"].attrs = {"units": "pp", "long_name": "mean control score over the same questions"}
    result["judge"] = (("run", "trait"), final.judge[trained])
    flags = [dict.fromkeys(final.flag[i] for i in line if final.flag[i]) for line in lines]
    result["flags"] = ("run", ["; ".join(found) for found in flags])
    return result.assign_coords(  # pyright: ignore[reportUnknownMemberType]
        {
            "run": ("run", [final.run[i] for i in trained]),
            "run_prompt": ("run", [final.prompt[i] for i in trained]),
            "prefix_type": ("run", [final.prefix_type[i] for i in trained]),
            "seed": ("run", final.seed[trained] if over == "runs" else np.full(len(lines), -1)),
            "seeds": ("run", [len(line) for line in known]),
            "step": ("run", final.step[trained]),
            **_about_traits(final),
        }
    ).assign_attrs(recipe=recipe, left_out=list(final.left_out))


def _lines(final: FinalScores, runs: Sequence[int], recipe: Recipe, over: Over) -> list[list[int]]:
    """The runs of each row."""
    if over == "runs":
        return [[i] for i in runs]
    if recipe == "published":
        raise BadInput("seeds are pooled with the recipe 'corrected' only. Fix: leave one of the two out.")
    lines: dict[tuple[str, ...], list[int]] = {}
    for i in runs:
        own = "" if final.seed[i] >= 0 else final.run[i]
        lines.setdefault((final.prompt[i], final.prefix_type[i], final.setup[i], own), []).append(i)
    return list(lines.values())


def _with_score(final: FinalScores, line: Sequence[int]) -> list[int]:
    """The runs of a row that have a score; all of them where none has."""
    return [i for i in line if np.isfinite(final.score[i]).any()] or list(line)


def _pooled(
    minuend: Float64[np.ndarray, "seed question"], subtrahend: Float64[np.ndarray, "seed question"], over: Over
) -> Interval:
    """The mean difference of the runs of a row."""
    return paired_t(minuend[0], subtrahend[0]) if over == "runs" else over_seeds(minuend - subtrahend)


def cross_suppression(
    store: Store,
    *,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
    over: Over = "runs",
    questions: str = "",
) -> xr.Dataset:
    """Suppression of the *other* trait by the same run: row (run, trait) holds what happened to the other one.

    Args:
        store, recipe, step, include_flagged, over, questions: As of `suppression`.

    Returns:
        The variables of `suppression` (pp), and the coordinate `other` (trait): the trait that is measured.
        NaN unless the experiment has exactly two traits.

    Raises:
        IncompleteStore: The store has no evaluated run, or no control run.
        BadInput: Scores of two judges would be subtracted, or no run was evaluated at `step`.
    """
    return cross_of(
        suppression(store, recipe=recipe, step=step, include_flagged=include_flagged, over=over, questions=questions)
    )


def cross_of(table: xr.Dataset) -> xr.Dataset:
    """`cross_suppression` from a suppression table."""
    traits = [str(name) for name in table["trait"].values]
    if len(traits) == 2:
        swapped, other = table.isel(trait=[1, 0]).assign(trait=traits), traits[::-1]
    else:
        missing = {name: table[name] * np.nan for name in ("mean", "lower", "upper")}
        swapped, other = table.assign({**missing, "n": table["n"] * 0}), [""] * len(traits)
    swapped = swapped.assign(other=("trait", other)).set_coords("other").assign_attrs(table.attrs)
    swapped["mean"].attrs = {"units": "pp", "long_name": "suppression of the other trait"}
    return swapped


def gap(
    store: Store,
    *,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
    over: Over = "runs",
    questions: str = "",
) -> xr.Dataset:
    """What a prompt loses when it is reworded per example: fixed suppression minus mix suppression.

    The control cancels, so `corrected` takes the paired difference mix_i - fixed_i of the two runs' scores
    per instruction. `published` subtracts the two suppressions and gives no interval.

    Args:
        store, recipe, step, include_flagged, over, questions: As of `suppression`.

    Returns:
        Dims prompt, trait: `mean`, `lower`, `upper` (pp, paired t interval), `n` (pairs); `flags` (prompt);
        coordinates `seed`, `seeds`, `fixed_run`, `mix_run` on prompt. A prompt trained with several seeds has one row
        per seed, or one over all. The attribute `left_out` names the prompts without both runs.

    Raises:
        IncompleteStore: The store has no evaluated run, or no control run.
        BadInput: Scores of two judges would be subtracted, or no run was evaluated at `step`.

    Examples:
        >>> inoc.outcomes.gap(store)["mean"].dims
        ('prompt', 'trait')
    """
    chosen = final_scores(run_scores(store, questions), recipe=recipe, step=step, include_flagged=include_flagged)
    return gap_of(chosen, recipe=recipe, over=over)


def gap_of(final: FinalScores, *, recipe: Recipe = "corrected", over: Over = "runs") -> xr.Dataset:
    """`gap` of scores that are already picked."""
    check_judges(final, recipe)
    labels = list(zip(final.prompt, final.seed.tolist(), final.setup, strict=True))
    mixes = {label: i for i, label in enumerate(labels) if final.prefix_type[i] == "mix" and label[0]}
    mix_of = {i: mixes[label] for i, label in enumerate(labels) if final.prefix_type[i] == "fixed" and label in mixes}
    lines = _lines(final, list(mix_of), recipe, over)
    pairs = [
        (final.prompt[line[0]], int(final.seed[line[0]]) if over == "runs" else -1, line[0], mix_of[line[0]])
        for line in lines
    ]
    cells = [[_gap(final, line, mix_of, t, recipe, over) for t in range(len(final.trait))] for line in lines]
    result = _table(cells, ("prompt", "trait"), "gap", (len(pairs), len(final.trait)))
    flags = [[final.flag[i] for fixed in line for i in (fixed, mix_of[fixed])] for line in lines]
    result["flags"] = ("prompt", ["; ".join(dict.fromkeys(flag for flag in both if flag)) for both in flags])
    paired = {prompt for prompt, *_ in pairs}
    alone = dict.fromkeys(prompt for prompt in final.prompt if prompt and prompt not in paired)
    left_out = [*final.left_out, *(f"{prompt}: only one of fixed and mix was trained" for prompt in alone)]
    return result.assign_coords(  # pyright: ignore[reportUnknownMemberType]
        {
            "prompt": ("prompt", [prompt for prompt, *_ in pairs]),
            "seed": ("prompt", [seed for _, seed, _, _ in pairs]),
            "seeds": ("prompt", [len(line) for line in lines]),
            "fixed_run": ("prompt", [final.run[f] for _, _, f, _ in pairs]),
            "mix_run": ("prompt", [final.run[m] for _, _, _, m in pairs]),
            **_about_traits(final),
        }
    ).assign_attrs(recipe=recipe, left_out=left_out)


def levels(store: Store) -> xr.Dataset:
    """The mean of every score of every run at every step and condition, as stored; nothing is left out or flagged.

    Args:
        store: A store with evaluated runs.

    Returns:
        Dims run, step, condition, score: `mean`, `lower`, `upper` (0-100, mean +/- 1.96 sd / sqrt(n), ddof 1,
        Student's t below 30), `n` (questions).

    Raises:
        IncompleteStore: The store has no evaluated run.
    """
    scores = with_setup(all_scores(store), store.runs)
    dims = ("run", "step", "condition", "score")
    values = np.asarray(scores["value"].transpose(*dims, "question").values, dtype=np.float64)
    cells = [[mean_level(row)] for row in values.reshape(-1, values.shape[-1])]
    table = _table(cells, ("cell", "one"), "score", (len(cells), 1))
    return xr.Dataset(
        {name: (dims, table[name].values.reshape(values.shape[:-1]), table[name].attrs) for name in table},
        coords={name: scores[name] for name in (*dims, "run_prompt", "prefix_type", "seed") if name in scores},
    )


def _about_traits(final: FinalScores) -> dict[str, tuple[str, list[str] | list[bool]]]:
    """The coordinates of the traits."""
    return {
        "trait": ("trait", list(final.trait)),
        "role": ("trait", list(final.role)),
        "effect": ("trait", list(final.effect)),
        "inverted": ("trait", list(final.inverted)),
    }


def _gap(
    final: FinalScores, line: Sequence[int], mix_of: Mapping[int, int], trait: int, recipe: Recipe, over: Over
) -> Interval:
    known = [i for i in line if np.isfinite(final.score[[i, mix_of[i]]]).any(axis=(1, 2)).all()] or line
    if recipe == "corrected":
        return _pooled(final.score[[mix_of[i] for i in known], trait], final.score[known, trait], over)
    fixed, mix = line[0], mix_of[line[0]]
    of_fixed, of_mix = mean_z(final.score[fixed, trait]), mean_z(final.score[mix, trait])
    return Interval(of_mix.estimate - of_fixed.estimate, np.nan, np.nan, min(of_fixed.n, of_mix.n))


def _table(cells: Sequence[Sequence[Interval]], dims: tuple[str, str], name: str, shape: tuple[int, int]) -> xr.Dataset:
    """A Dataset of mean, lower, upper, n from a table of intervals."""
    numbers: Float64[np.ndarray, "row column 4"] = np.array(cells, dtype=np.float64).reshape((*shape, 4))
    result = xr.Dataset()
    for i, part in enumerate(("mean", "lower", "upper")):
        bound = "" if part == "mean" else f", {part} end of the 95 % interval"
        result[part] = (dims, numbers[..., i], {"units": "pp", "long_name": f"{name}{bound}"})
    result["n"] = (dims, numbers[..., 3].astype(np.int64), {"units": "1", "long_name": "questions used"})
    return result
