"""Which score of a run counts: the final-step rule, the control to subtract, the judge that must agree."""

# pyright: reportUnknownMemberType=false

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int, Shaped

from inoc.errors import BadInput, IncompleteStore
from inoc.values import Recipe

LATE = 0.99
"""Stored steps of at least this share of the last one count as one late step."""
JUMP = 8.0
"""pp by which the last stored step may differ from the nominal one before a run is flagged."""


@dataclass(frozen=True)
class FinalScores:
    """Scores of every run at its final step, default condition, with the control beside it.

    `score` and `control` are 0-100, NaN where missing; `control` is the score per instruction of the control
    run of the same seed, or the mean of all controls where none has that seed; only controls trained with
    the same settings count. `flag` says why a run is doubtful ("" = it is not), `left_out` why its scores
    are NaN.
    """

    run: tuple[str, ...]
    prompt: tuple[str, ...]
    prefix_type: tuple[str, ...]
    seed: Int[np.ndarray, " run"]
    trait: tuple[str, ...]
    step: Int[np.ndarray, " run"]
    flag: tuple[str, ...]
    score: Float64[np.ndarray, "run trait instruction"]
    control: Float64[np.ndarray, "run trait instruction"]
    judge: Shaped[np.ndarray, "run trait"]

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence per run that has no score here: why."""
        missing = ~np.asarray(np.isfinite(self.score).any(axis=(1, 2)))
        return tuple(
            f"{name}: {flag or 'no score at all'}"
            for name, flag, absent in zip(self.run, self.flag, missing, strict=True)
            if absent
        )


def nominal_step(steps: Sequence[int]) -> int:
    """The planned last step of a run whose store does not say it: the smallest of its late steps.

    Late steps lie within 1 % of the last one: of 0, 312, 313 it is 312 (10 000 examples / 32 = 312 full
    updates; a 313th is the leftover batch).
    """
    return min(step for step in steps if step >= LATE * max(steps))


def final_scores(
    scores: xr.Dataset,
    *,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> FinalScores:
    """Pick the final step of every run and its control.

    `corrected`: the nominal step, from the store or else `nominal_step` of the control. A run whose last
    stored step differs by more than 8 pp from the nominal one, for any trait, is flagged and its scores are
    NaN unless `include_flagged`. `published`: the largest stored step, no flag. `step`: this step for all
    runs, no flag. `scores`: variables `score` (run, step, condition, trait, instruction) and `judge` (run,
    trait), coordinates `run_prompt` ("" = control), `prefix_type`, `seed`, `nominal_step` on run, and where
    known `setup` (training settings that a run and its control share) and `continues` (the run it started
    from: such a run is no control, and is left out).
    """
    if "default" not in scores["condition"].values:
        raise IncompleteStore(
            "no run was evaluated without its prompt (condition `default`); `inoc evaluate` does that."
        )
    score = scores["score"].sel(condition="default").transpose("run", "step", "trait", "instruction")
    values = np.asarray(score.values, dtype=np.float64)
    steps = np.asarray(score["step"].values, dtype=np.int64)
    runs = tuple(str(name) for name in score["run"].values)
    prompts = tuple(str(key) for key in scores["run_prompt"].values)
    seeds = _integers(scores, "seed")
    setups, continues = _words(scores, "setup"), _words(scores, "continues")
    stored = np.asarray(np.isfinite(values).any(axis=(2, 3)))
    controls = [i for i in range(len(runs)) if not prompts[i] and not continues[i] and stored[i].any()]
    if not controls:
        raise IncompleteStore(
            "the store has no scores of a control run (trained without a prompt), so there is nothing to "
            "subtract from; `inoc train` and `inoc evaluate` make them."
        )
    if step is not None and step not in steps[stored.any(axis=0)]:
        known = ", ".join(str(s) for s in steps[stored.any(axis=0)])
        raise BadInput(f"no run was evaluated at step {step}; the stored steps are {known}.")

    nominal = _integers(scores, "nominal_step")
    fallback = nominal_step([int(s) for s in steps[stored[controls[0]]]])
    chosen = np.full(len(runs), -1, dtype=np.int64)
    final = np.full((len(runs), values.shape[2], values.shape[3]), np.nan)
    flags: list[str] = []
    for i in range(len(runs)):
        own = [int(s) for s in steps[stored[i]]]
        wanted = step if step is not None else int(nominal[i]) if nominal[i] > 0 else fallback
        if recipe == "published" and step is None and own:
            wanted = max(own)
        flag = "" if wanted in own else f"not evaluated at step {wanted} (stored: {_listed(own)})"
        if continues[i]:
            flag = f"continued from {continues[i]}: see durability"
        if not flag:
            chosen[i] = wanted
            final[i] = values[i, int(np.flatnonzero(steps == wanted)[0])]
            if recipe == "corrected" and step is None:
                last = values[i, int(np.flatnonzero(steps == max(own))[0])]
                flag = _jump(final[i], last, wanted, max(own), [str(t) for t in score["trait"].values])
                if flag and not include_flagged:
                    final[i] = np.nan
        flags.append(flag)
    control = _controls(final, controls, seeds, setups)
    for i in np.flatnonzero(np.isfinite(final).any(axis=(1, 2)) & ~np.isfinite(control).any(axis=(1, 2))):
        flags[i] = "; ".join(f for f in (flags[i], "no usable control with the same training settings") if f)
        final[i] = np.nan
    judge = np.asarray(scores["judge"].transpose("run", "trait").values).astype(str)
    return FinalScores(
        run=runs,
        prompt=prompts,
        prefix_type=tuple(str(kind) for kind in scores["prefix_type"].values),
        seed=seeds,
        trait=tuple(str(name) for name in score["trait"].values),
        step=chosen,
        flag=tuple(flags),
        score=final,
        control=control,
        judge=judge,
    )


def check_judges(final: FinalScores, recipe: Recipe, where: str = "the store") -> None:
    """Raise BadInput where two judges scored one trait: their scores may not be subtracted or pooled.

    `published` lets it pass.
    """
    if recipe == "published":
        return
    present = np.asarray(np.isfinite(final.score).any(axis=2))
    for t, trait in enumerate(final.trait):
        first: dict[str, str] = {}
        for i in np.flatnonzero(present[:, t]):
            first.setdefault(str(final.judge[i, t]), final.run[i])
        if len(first) > 1:
            raise other_judges(trait, [(judge, f"run {run} of {where}") for judge, run in first.items()])


def other_judges(trait: str, seen: Sequence[tuple[str, str]]) -> BadInput:
    """The error for one trait scored by several judges; `seen` lists (judge, where)."""
    named = "; ".join(f"'{judge or 'unknown'}' ({where})" for judge, where in seen)
    return BadInput(
        f"scores of '{trait}' come from different judges and cannot be subtracted or pooled: {named}. "
        "Evaluate again with one judge, or use the recipe 'published' to do it all the same."
    )


def _jump(
    at: Float64[np.ndarray, "trait instruction"],
    last: Float64[np.ndarray, "trait instruction"],
    nominal: int,
    last_step: int,
    traits: Sequence[str],
) -> str:
    """Why the run is flagged, or "": the mean score moved by more than 8 pp between two late steps."""
    moved: list[str] = []
    for t, trait in enumerate(traits):
        a, b = at[t][np.isfinite(at[t])], last[t][np.isfinite(last[t])]
        if a.size and b.size and abs(b.mean() - a.mean()) > JUMP:
            moved.append(f"{trait} {a.mean():.1f} at step {nominal}, {b.mean():.1f} at step {last_step}")
    return f"steps contradict each other ({'; '.join(moved)})" if moved else ""


def _controls(
    final: Float64[np.ndarray, "run trait instruction"],
    controls: Sequence[int],
    seeds: Int[np.ndarray, " run"],
    setups: Sequence[str],
) -> Float64[np.ndarray, "run trait instruction"]:
    """Per run: the controls of its setup and seed, else of its setup; mean per instruction where several."""
    result = np.full_like(final, np.nan)
    for i, seed in enumerate(seeds):
        alike = [c for c in controls if setups[c] == setups[i] and np.isfinite(final[c]).any()]
        same = [c for c in alike if seeds[c] == seed] or alike
        block = final[same]
        count = np.isfinite(block).sum(axis=0)
        total = np.where(np.isfinite(block), block, 0.0).sum(axis=0)
        result[i] = np.divide(total, count, out=np.full_like(total, np.nan), where=count > 0)
    return result


def _integers(scores: xr.Dataset, name: str) -> Int[np.ndarray, " run"]:
    """An integer coordinate of the runs; absent or NaN becomes -1."""
    if name not in scores.variables:
        return np.full(scores.sizes["run"], -1, dtype=np.int64)
    values = np.asarray(scores[name].values, dtype=np.float64)
    return np.where(np.isfinite(values), values, -1).astype(np.int64)


def _words(scores: xr.Dataset, name: str) -> list[str]:
    """A coordinate of the runs in words; absent becomes ""."""
    if name not in scores.variables:
        return [""] * scores.sizes["run"]
    return [str(value) for value in scores[name].values]


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(str(step) for step in steps) or "none"
