"""Which score of a run counts: the final-step rule, the control to subtract, the judges that must agree."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import xarray as xr
from jaxtyping import Float64, Int64, Shaped

from inoc.errors import BadInput, IncompleteStore
from inoc.hashing import canonical_json
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.names import unknown
from inoc.store.runs import RunInfo
from inoc.store.store import Store
from inoc.values import Recipe

RunScores = Float64[np.ndarray, "trait question"]
AllScores = Float64[np.ndarray, "run trait question"]
RunNumbers = Int64[np.ndarray, " run"]
LATE = 0.99
"""Stored steps of at least this share of the last one count as one late step."""
JUMP = 8.0
"""pp by which the last stored step may differ from the nominal one before a run is flagged."""
NOT_SHARED = ("checkpoints", "start", "trained_with")
"""Training settings in which a run and its control may differ."""


def run_scores(store: Store, questions: str = "") -> xr.Dataset:
    """How much of each trait every run shows, `with_setup`: `score` (run, step, condition, trait, question), 0-100.

    It is the stored score, or 100 minus it where a high one means that little of the trait is there (`inverted`): more
    is always more of the trait. `questions`: only those of this named file. IncompleteStore where there are none.
    """
    scores, no_trait = (
        of_questions(all_scores(store), questions),
        {score.name for score in store.measured if not score.role},
    )
    traits = scores.isel(score=[i for i, name in enumerate(scores["score"].values) if name not in no_trait])
    shown = traits.rename(score="trait").rename(value="score")
    shown["score"] = shown["score"].where(~shown["inverted"], 100.0 - shown["score"])
    return with_setup(shown, store.runs)


def of_questions(scores: xr.Dataset, name: str) -> xr.Dataset:
    """The scores of the questions of a named file; BadInput where there is no such file."""
    files = scores["file"].values.astype(str)
    if name and name not in files:
        raise BadInput(unknown("file of questions", name, dict.fromkeys(files.tolist())))
    return scores.isel(question=files == name) if name else scores


def questions_by_file(store: Store) -> dict[str, int]:
    """How many questions each named file has."""
    return dict(Counter(str(name) for name in all_scores(store)["file"].values.astype(str)))


def all_scores(store: Store) -> xr.Dataset:
    """Every score of every run as it is stored: `value` (run, step, condition, score, question).

    Raises:
        IncompleteStore: The store has no evaluated run.
    """
    scores = store.scores
    if scores is None:
        raise IncompleteStore(
            f"the store {store.path.name} has no evaluated runs. Fix: make them with `inoc train` and "
            "`inoc evaluate`, or read them from a file with `inoc import --scores`."
        )
    return scores


def with_setup(scores: xr.Dataset, runs: Mapping[str, RunInfo]) -> xr.Dataset:
    """Scores with what runs must share: coordinates `setup` (to be alike), `control_setup` (with their control, which
    has no prompt to rephrase) and `continues` on run."""
    about = [runs[str(name)] for name in scores["run"].values]
    shared = [
        {k: _rows_of(v) if k == "data" else v for k, v in run.settings.items() if k not in NOT_SHARED} for run in about
    ]
    return scores.assign_coords(  # pyright: ignore[reportUnknownMemberType]
        setup=("run", [canonical_json(settings) for settings in shared]),
        control_setup=("run", [canonical_json({**settings, "rephrasings": None}) for settings in shared]),
        continues=("run", [run.start or "" for run in about]),
    )


def _rows_of(data: object) -> object:
    """What a run and its control have in common of `data`: the rows, not their prefixes."""
    if not isinstance(data, list):
        return data
    entries = cast(list[Mapping[str, object]], data)
    return [{k: v for k, v in entry.items() if k != "prefix"} for entry in entries]


@dataclass(frozen=True)
class FinalScores:
    """Scores of every run at its final step, default condition, with the control's.

    Attributes:
        run, prompt, prefix_type, seed, trait: Labels; the prompt of a control run is "".
        step: The final step; -1 where the run has no score there.
        flag: Why a run is doubtful or left out; "" if it is neither.
        score: 0-100, NaN where missing or left out.
        control: Scores of the control run of the same seed, else the mean of all controls; only controls
            trained with the same settings count.
        judge: Identity of the judge.
        role: Of every trait: "positive", "negative", or "" where unknown.
        inverted: Whether the stored score of a trait is 100 minus `score`.
        setup: Of every run, the settings that it shares with its control.
    """

    run: tuple[str, ...]
    prompt: tuple[str, ...]
    prefix_type: tuple[str, ...]
    seed: RunNumbers
    trait: tuple[str, ...]
    step: RunNumbers
    flag: tuple[str, ...]
    score: AllScores
    control: AllScores
    judge: Shaped[np.ndarray, "run trait"]
    role: tuple[str, ...]
    inverted: tuple[bool, ...]
    setup: tuple[str, ...]

    @property
    def effect(self) -> tuple[str, ...]:
        """What control minus run is called: loss of a wanted trait, suppression of any other."""
        return tuple("loss" if role == "positive" else "suppression" for role in self.role)

    @property
    def left_out(self) -> tuple[str, ...]:
        """One sentence per run that has no score here: why."""
        known = np.asarray(np.isfinite(self.score).any(axis=(1, 2)))
        rows = zip(self.run, self.flag, known, strict=True)
        return tuple(f"{name}: {flag or 'no score at all'}" for name, flag, here in rows if not here)


def nominal_step(steps: Sequence[int]) -> int:
    """The planned last step of a run whose store does not say it: the smallest of its late steps.

    Late steps lie within 1 % of the last one: of 0, 312, 313 it is 312 (10 000 examples / 32 = 312 full
    updates; a 313th is the leftover batch).
    """
    return min(step for step in steps if step >= LATE * max(steps))


def final_step(scores: xr.Dataset) -> tuple[list[int], list[str]]:
    """The final step of every run, -1 for none, and a sentence for each run without; `scores` as of `all_scores`, with
    `continues`. Runs that continue another have none."""
    values = np.asarray(scores["value"].transpose("run", "step", ...).values, dtype=np.float64)
    done = np.asarray(np.isfinite(values).any(axis=(2, 3, 4)))
    stored, nominal = scores["step"].values, _integers(scores, "nominal_step")
    names, continues = _words(scores, "run"), _words(scores, "continues")
    steps, left_out = [-1] * len(names), list[str]()
    for i, name in enumerate(names):
        own = [int(step) for step in stored[done[i]]]
        wanted = int(nominal[i]) if nominal[i] > 0 else nominal_step(own) if own else -1
        if continues[i]:
            left_out.append(f"{name}: continued from {continues[i]}: see durability")
        elif wanted not in own:
            left_out.append(f"{name}: not evaluated at step {wanted} (stored: {_listed(own)})")
        else:
            steps[i] = wanted
    return steps, left_out


def final_scores(
    scores: xr.Dataset, *, recipe: Recipe = "corrected", step: int | None = None, include_flagged: bool = False
) -> FinalScores:
    """Pick the final step of every run and its control.

    `corrected`: the nominal step, from the store or else `nominal_step` of the control. A run whose last stored step
    differs by more than 8 pp from the nominal one, for any trait, is flagged and its scores are NaN unless
    `include_flagged`. `published`: the largest stored step, no flag. `step`: this step for all runs, no flag. `scores`:
    variables `score` (run, step, condition, trait, question) and `judge` (run, trait), coordinates `run_prompt` (""
    = control), `prefix_type`, `seed`, `nominal_step` on run, and where known those of `with_setup` (a run with
    `continues`, the run it started from, is not a control, and is left out).
    """
    if "default" not in scores["condition"].values:
        raise IncompleteStore(
            "no run was evaluated without its prompt (condition `default`). Fix: run `inoc evaluate`."
        )
    score = scores.sel(condition="default")["score"].transpose("run", "step", "trait", "question")
    values = np.asarray(score.values, dtype=np.float64)
    steps = [int(s) for s in score["step"].values]
    runs, prompts = _words(scores, "run"), _words(scores, "run_prompt")
    seeds, nominal = _integers(scores, "seed"), _integers(scores, "nominal_step")
    setups, continues = _words(scores, "setup"), _words(scores, "continues")
    traits = [str(t) for t in score["trait"].values]
    done = np.asarray(np.isfinite(values).any(axis=(2, 3)))
    own = [[steps[s] for s in np.flatnonzero(row)] for row in done]
    controls = [i for i in range(len(runs)) if not prompts[i] and not continues[i] and own[i]]
    if not controls:
        raise IncompleteStore(
            "the store has no scores of a control run (trained without a prompt), so there is nothing to "
            "subtract from. Fix: make them with `inoc train` and `inoc evaluate`."
        )
    if step is not None and not any(step in stored for stored in own):
        known = _listed(sorted({s for stored in own for s in stored}))
        raise BadInput(f"no run was evaluated at step {step}. Fix: use one of the stored steps {known}.")

    fallback = nominal_step(own[controls[0]])
    chosen = np.full(len(runs), -1, dtype=np.int64)
    final = np.full((len(runs), *values.shape[2:]), np.nan)
    flags = [""] * len(runs)
    for i in range(len(runs)):
        wanted = step if step is not None else int(nominal[i]) if nominal[i] > 0 else fallback
        if recipe == "published" and step is None and own[i]:
            wanted = max(own[i])
        if continues[i]:
            flags[i] = f"continued from {continues[i]}: see durability"
        elif wanted not in own[i]:
            flags[i] = f"not evaluated at step {wanted} (stored: {_listed(own[i])})"
        else:
            chosen[i] = wanted
            final[i] = values[i, steps.index(wanted)]
            if recipe == "corrected" and step is None:
                last = max(own[i])
                flags[i] = _jump(final[i], values[i, steps.index(last)], wanted, last, traits)
                if flags[i] and not include_flagged:
                    final[i] = np.nan
    control = _controls(final, controls, seeds, _words(scores, "control_setup"))
    for i in np.flatnonzero(np.isfinite(final).any(axis=(1, 2)) & ~np.isfinite(control).any(axis=(1, 2))):
        flags[i] = "; ".join(f for f in (flags[i], "no usable control with the same training settings") if f)
        final[i] = np.nan
    judges = np.asarray(scores["judge"].transpose("run", "trait").values).astype(str)
    return FinalScores(
        tuple(runs), tuple(prompts), tuple(_words(scores, "prefix_type")), seeds, tuple(traits), step=chosen,
        flag=tuple(flags), score=final, control=control, judge=judges, role=tuple(_words(scores, "role", "trait")),
        inverted=tuple(word == "True" for word in _words(scores, "inverted", "trait")),
        setup=tuple(setups),
    )  # fmt: skip


def check_judges(final: FinalScores, recipe: Recipe = "corrected", runs: Sequence[int] | None = None) -> None:
    """Raise BadInput where two judges scored one trait (of some runs): their scores may not be subtracted.

    `published` lets it pass.
    """
    present = np.asarray(np.isfinite(final.score).any(axis=2))
    for t, trait in enumerate(final.trait if recipe == "corrected" else ()):
        seen: dict[str, str] = {}
        for i in np.flatnonzero(present[:, t]) if runs is None else runs:
            seen.setdefault(str(final.judge[i, t]), f"run {final.run[i]}")
        if len(seen) > 1:
            raise other_judges(trait, seen)


def other_judges(trait: str, seen: Mapping[str, str]) -> BadInput:
    """The error for one trait scored by several judges; `seen`: judge -> where."""
    named = "; ".join(f"'{judge or 'unknown'}' ({where})" for judge, where in seen.items())
    return BadInput(
        f"scores of '{trait}' come from different judges and cannot be subtracted or pooled: {named}. "
        "Fix: evaluate again with one judge, or use the recipe 'published' to subtract them anyway."
    )


def _jump(at: RunScores, last: RunScores, nominal: int, last_step: int, traits: Sequence[str]) -> str:
    """Why the run is flagged, or "": the mean score moved by more than 8 pp between two late steps."""
    moved: list[str] = []
    for t, trait in enumerate(traits):
        a, b = at[t][np.isfinite(at[t])], last[t][np.isfinite(last[t])]
        if a.size and b.size and abs(b.mean() - a.mean()) > JUMP:
            moved.append(f"{trait} {a.mean():.1f} at step {nominal}, {b.mean():.1f} at step {last_step}")
    return f"steps contradict each other ({'; '.join(moved)})" if moved else ""


def _controls(final: AllScores, controls: Sequence[int], seeds: RunNumbers, setups: Sequence[str]) -> AllScores:
    """Per run: the controls of its setup and seed, else of its setup; mean per instruction where several."""
    result = np.full_like(final, np.nan)
    for i, seed in enumerate(seeds):
        alike = [c for c in controls if setups[c] == setups[i] and np.isfinite(final[c]).any()]
        same = [c for c in alike if seeds[c] == seed] or alike
        result[i] = mean_of_finite(np.moveaxis(final[same], 0, -1))
    return result


def _integers(scores: xr.Dataset, name: str) -> RunNumbers:
    """An integer coordinate of the runs; absent or NaN becomes -1."""
    if name not in scores.variables:
        return np.full(scores.sizes["run"], -1, dtype=np.int64)
    values = np.asarray(scores[name].values, dtype=np.float64)
    return np.where(np.isfinite(values), values, -1).astype(np.int64)


def _words(scores: xr.Dataset, name: str, dim: str = "run") -> list[str]:
    """A coordinate of the runs (or traits) in words; absent becomes ""."""
    if name not in scores.variables:
        return [""] * scores.sizes[dim]
    return [str(value) for value in scores[name].values]


def _listed(steps: Sequence[int]) -> str:
    return ", ".join(str(step) for step in steps) or "none"
