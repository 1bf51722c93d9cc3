"""Two stores, or two runs, side by side: the same prompts and questions paired, and what differs in their settings."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, TypeVar

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import BadInput, IncompleteStore
from inoc.heuristics.frame.differences import difference
from inoc.heuristics.maths.pointwise import mean_of_finite
from inoc.intervals import paired_t
from inoc.names import refuse_unknown
from inoc.outcomes.final import FinalScores, all_scores, final_scores, final_step, run_scores, with_setup
from inoc.outcomes.tidy import prompt_column
from inoc.store.fingerprint import differing
from inoc.store.store import Store

Part = TypeVar("Part", xr.DataArray, xr.Dataset)
Pairs = Float64[np.ndarray, " pair"]
KINDS: Mapping[str, str] = {"score": "pp", "held back": "pp", "elicitation": "pp", "logprob": "nats per token"}
"""What is compared, and in which units: scores of runs, control minus run, the base model's scores with a prompt minus
without, and log-probabilities of completions with a prompt minus without."""


class Row(NamedTuple):
    """Two means over the same questions (or examples), the second minus the first with its interval, and the pairs."""

    kind: str
    of: str
    prompt: str
    prefix_type: str
    seed: int
    condition: str
    first: float
    second: float
    difference: float
    lower: float
    upper: float
    n: int


class Evaluated(NamedTuple):
    """A run as it is compared: its setup, and its values at one step by condition, score and question."""

    prompt: str
    prefix_type: str
    seed: int
    step: int
    settings: Mapping[str, object]
    judge: Mapping[str, str]
    values: xr.DataArray


def compare(first: Store, second: Store, *, runs: tuple[str, str] | None = None, step: int | None = None) -> xr.Dataset:
    """Pair what two stores have in common, and say how much the second differs from the first.

    Runs are paired by prompt, prefix type and seed, and by name where several are alike in these; prompts by key and
    text. A question counts once, by the mean of its answers, and only where both have it; scores of different judges
    are left out.

    Args:
        first: The store that is subtracted.
        second: The other one; the same store to compare two of its runs.
        runs: A run of the first and one of the second: only these are compared, whatever they were trained on.
        step: Of every run; None for the final one.

    Returns:
        Dim row: `first` and `second` (means over the pairs), `difference` (second minus first) with `lower` and `upper`
        (paired t, 95 %, one value per question or example), `n` (pairs), in `units`; coordinates `kind` ("score" of
        a run, "held back" by it, "elicitation", "logprob"), `of` (the score or completion set), `prompt`,
        `prefix_type`, `seed`, `condition`. The attributes `settings` (field, first, second) and `left_out` say what
        differs and what could not be paired.

    Raises:
        BadInput: There is no such run or step.
        IncompleteStore: The two have nothing in common.

    Examples:
        >>> inoc.outcomes.compare(store, store)["difference"].dims
        ('row',)
    """
    left_out: list[str] = []
    settings = [] if runs and first.path == second.path else list(_settings(first, second))
    other_texts = _other_texts(first, second)
    rows: list[Row] = []
    if first.scores is None or second.scores is None:
        if runs:
            all_scores(first if first.scores is None else second)
    else:
        given = (_evaluated(first, step), _evaluated(second, step))
        for known, name in zip(given, runs or (), strict=bool(runs)):
            refuse_unknown("run", [name], known)
        pairs = [runs] if runs else _pairs(*given, other_texts, left_out)
        for a, b in pairs:
            rows += _scores(a, given[0][a], b, given[1][b], left_out)
            found = differing({**given[0][a].settings}, {**given[1][b].settings})
            settings += [(f"runs: {name}" if not runs else name, *both) for name, *both in found]
        if not runs:
            rows += _held_back(first, second, pairs, step, left_out)
    if not runs:
        rows += [*_elicited(first, second, other_texts, left_out), *_logprobs(first, second, other_texts, left_out)]
    if not rows:
        reasons = "; ".join(dict.fromkeys(left_out)) or "neither runs, elicitation nor log-probabilities of one prompt"
        raise IncompleteStore(
            f"{first.path.name} and {second.path.name} have nothing in common: {reasons}. "
            "Fix: name two stores of one study, or two runs with --run."
        )
    words = {
        "first": "mean of the first",
        "second": "mean of the second",
        "difference": "second minus first",
        "lower": "lower end of the 95 % interval",
        "upper": "upper end of the 95 % interval",
        "n": "pairs",
    }
    table = xr.Dataset(
        {name: ("row", [getattr(row, name) for row in rows], {"long_name": said}) for name, said in words.items()},
        coords={name: ("row", [getattr(row, name) for row in rows]) for name in Row._fields[:6]},
    )
    table = table.assign_coords(units=("row", [KINDS[row.kind] for row in rows]))  # pyright: ignore[reportUnknownMemberType]
    return table.assign_attrs(
        settings=list(dict.fromkeys(settings)),
        left_out=[*(f"{key}: its text differs" for key in other_texts), *dict.fromkeys(left_out)],
    )


def _settings(first: Store, second: Store) -> Iterable[tuple[str, str, str]]:
    """Field, value of the first and of the second, of identity and experiment."""
    yield from differing(first.identity, second.identity)
    for name, a, b in differing(first.experiment, second.experiment):
        if name not in ("name", "prompts"):
            yield f"experiment: {name}", a, b


def _other_texts(first: Store, second: Store) -> list[str]:
    """Prompts of one key whose texts differ: they are not the same prompt."""
    if not (first.has("prompts") and second.has("prompts")):
        return []
    a, b = prompt_column(first, "text"), prompt_column(second, "text")
    return [key for key, text in a.items() if b.get(key, text) != text]


def _evaluated(store: Store, step: int | None) -> dict[str, Evaluated]:
    """Every run that has scores at its step, by name."""
    scores = with_setup(all_scores(store), store.runs)
    final, _ = final_step(scores)
    values = scores["value"].transpose("run", "step", "condition", "score", "question")
    done = np.asarray(np.isfinite(values.values).any(axis=(2, 3, 4)))
    stored = [int(s) for s in scores["step"].values]
    found: dict[str, Evaluated] = {}
    for r, (name, last) in enumerate(zip(scores["run"].values.astype(str).tolist(), final, strict=True)):
        own = [s for s, there in zip(stored, done[r], strict=True) if there]
        wanted = step if step is not None else last if last >= 0 else max(own, default=-1)
        if wanted not in own:
            continue
        run = store.runs[name]
        judge = dict(zip(scores["score"].values.astype(str), scores["judge"].values[r].astype(str), strict=True))
        found[name] = Evaluated(
            run.prompt, run.prefix_type, run.seed, wanted, run.settings, judge, _at(values.isel(run=r), step=wanted)
        )
    if not found and step is not None:
        raise BadInput(
            f"no run of {store.path.name} was evaluated at step {step}. "
            f"Fix: use one of the stored steps {', '.join(map(str, stored))}."
        )
    return found


def _pairs(
    first: Mapping[str, Evaluated], second: Mapping[str, Evaluated], other_texts: Sequence[str], left_out: list[str]
) -> list[tuple[str, str]]:
    """Names of runs that belong together."""
    pairs: list[tuple[str, str]] = []
    labels = dict.fromkeys(run[:3] for run in (*first.values(), *second.values()))
    for label in labels:
        a, b = ([name for name, run in side.items() if run[:3] == label] for side in (first, second))
        both = [name for name in a if name in b]
        pairs += [(name, name) for name in both]
        a, b = ([name for name in side if name not in both] for side in (a, b))
        if len(a) == len(b) == 1 and label[0] not in other_texts:
            pairs.append((a[0], b[0]))
            continue
        why = "several runs are like it" if a and b else "only one of the two has such a run"
        left_out += [f"{name}: {why}" for name in (*a, *b)]
    return [(a, b) for a, b in pairs if first[a].prompt not in other_texts]


def _row(kind: str, of: str, label: tuple[str, str, int], condition: str, first: Pairs, second: Pairs) -> list[Row]:
    """The means over the pairs and their difference; no row without a pair."""
    both = np.isfinite(first) & np.isfinite(second)
    one, other = (float(mean_of_finite(values[both])) for values in (first, second))
    found = paired_t(second, first)
    return [Row(kind, of, *label, condition, one, other, *found)] if found.n else []


def _labels(part: xr.DataArray | xr.Dataset, dim: str) -> list[str]:
    return [str(label) for label in part[dim].values]


def _shared(first: Part, second: Part, *, exclude: Sequence[str] = ()) -> tuple[Part, Part]:
    """What both have of every dimension, in the order of the first."""
    return xr.align(first, second, exclude=exclude)  # pyright: ignore[reportUnknownMemberType]


def _at(part: xr.DataArray, **labels: str | int) -> xr.DataArray:
    return part.sel(labels)  # pyright: ignore[reportUnknownMemberType]


def _scores(a: str, first: Evaluated, b: str, second: Evaluated, left_out: list[str]) -> Iterable[Row]:
    """Every condition and score that two runs have, paired by question."""
    both = _shared(first.values, second.values)
    name = a if a == b else f"{a} and {b}"
    label = first[:3] if first[:3] == second[:3] else (name, "", -1)
    for score in _labels(both[0], "score"):
        if first.judge[score] != second.judge[score]:
            left_out.append(f"{name}: {score} was given by different judges")
            continue
        for condition in _labels(both[0], "condition"):
            cells = [_at(part, condition=condition, score=score).values for part in both]
            yield from _row("score", score, label, condition, *cells)


def _held_back(
    first: Store, second: Store, pairs: Sequence[tuple[str, str]], step: int | None, left_out: list[str]
) -> Iterable[Row]:
    """Control minus run in both, paired by question: what the prompt does, whatever the level of the controls."""
    finals: list[FinalScores] = []
    held: list[xr.DataArray] = []
    for store in (first, second):
        try:
            scores = run_scores(store)
            final = final_scores(scores, step=step)
        except IncompleteStore as error:
            left_out.append(f"held back: {error}")
            return
        finals.append(final)
        coords = {"run": list(final.run), "trait": list(final.trait), "question": _labels(scores, "question")}
        held.append(xr.DataArray(final.control - final.score, coords, ("run", "trait", "question")))
    (one, other), both = finals, _shared(*held, exclude=["run"])
    for a, b in pairs:
        i, j = one.run.index(a), other.run.index(b)
        for trait in _labels(both[0], "trait") if one.prompt[i] else []:
            if one.judge[i, one.trait.index(trait)] == other.judge[j, other.trait.index(trait)]:
                label = one.prompt[i], one.prefix_type[i], int(one.seed[i])
                cells = [_at(part, run=run, trait=trait).values for part, run in zip(both, (a, b), strict=True)]
                yield from _row("held back", trait, label, "default", *cells)


def _elicited(first: Store, second: Store, other_texts: Sequence[str], left_out: list[str]) -> Iterable[Row]:
    """What a prompt adds to the base model's score, paired by instruction."""
    if first.elicitation is None or second.elicitation is None:
        return
    both = _shared(first.elicitation, second.elicitation)
    for trait in _labels(both[0], "trait"):
        parts = [part.sel(trait=trait) for part in both]
        if len({str(part["judge"].item()) for part in parts}) > 1:
            left_out.append(f"elicitation of {trait}: given by different judges")
            continue
        for prompt in [p for p in _labels(both[0], "prompt") if p not in other_texts]:
            cells = [(_at(part["score"], prompt=prompt) - part["baseline"]).values for part in parts]
            yield from _row("elicitation", trait, (prompt, "", -1), "", *cells)


def _logprobs(first: Store, second: Store, other_texts: Sequence[str], left_out: list[str]) -> Iterable[Row]:
    """What a prompt adds to the log-probability of a completion, paired by example; only of equal completions."""
    for name in [s for s in first.completion_sets if s in second.completion_sets]:
        if not _same_completions(first, second, name):
            left_out.append(f"log-probabilities of the set {name}: its completions differ")
            continue
        for kind in ("fixed", "mix"):
            try:
                both = _shared(*(difference(store, kind, name, "example") for store in (first, second)))
            except BadInput:
                continue
            for prompt in [p for p in _labels(both[0], "prompt") if p not in other_texts]:
                cells = [_at(part, prompt=prompt).values.astype(np.float64) for part in both]
                yield from _row("logprob", name, (prompt, kind, -1), "", *cells)


def _same_completions(first: Store, second: Store, name: str) -> bool:
    """Whether examples of one id have one text and length, as far as both stores know them."""
    where = f"completions/{name}"
    for variable in ("row_size", "completion"):
        if all(store.has(f"{where}/{variable}") for store in (first, second)):
            ids, values = (
                [store.read(f"{where}/{v}").tolist() for store in (first, second)] for v in ("example_id", variable)
            )
            known = dict(zip(ids[1], values[1], strict=True))
            if any(known.get(example, value) != value for example, value in zip(ids[0], values[0], strict=True)):
                return False
    return True
