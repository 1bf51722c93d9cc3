"""Which prompt to use: held-back leak against loss of the wanted trait, and which runs would tell more."""

from collections.abc import Mapping, Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import IncompleteStore
from inoc.outcomes.advice import doubts, trust
from inoc.outcomes.planning import Cell, plan_of
from inoc.outcomes.predict_stores import gather, suppressions
from inoc.outcomes.prediction import predict_of
from inoc.outcomes.tidy import as_list, experiment_names, of_prompts, prompt_column
from inoc.store.store import Store
from inoc.values import Recipe

PP, SHARE = ("predicted", "lower", "upper"), ("share", "share_lower", "share_upper")
STANDINGS = ("front", "close", "behind")
ENDS = ("", "_lower", "_upper")


def recommend(
    stores: Store | Sequence[Store],
    untrained: Store | None = None,
    *,
    prompts: Sequence[str] | None = None,
    train: int = 0,
    control: Mapping[str, float] | None = None,
    prior: bool = True,
    recipe: Recipe = "corrected",
    step: int | None = None,
    include_flagged: bool = False,
) -> xr.Dataset:
    """Rank prompts by the leak they hold back and by what they cost of the wanted trait.

    Args:
        stores, untrained, prompts, control, prior, recipe, step, include_flagged: As of `inoc.outcomes.predict`.
        train: How many runs to name that would narrow the answer most.

    Returns:
        Dim row, one per prompt and prefix type: `leak` (suppression of the negative trait: more is better) and `loss`
        (of the positive trait: less is better) with `_lower` and `_upper` (95 %), in pp, or as shares where no
        control tells; `measured` (trained: paired t intervals, else predicted); `standing`: "front" (no other is
        better in one and as good in the other), "close" (not distinguishable from one that is), "behind"; `train`
        (place among the runs to train, 0 for none); coordinates `experiment`, `prompt`, `prefix_type`, `text`, `role`.
        Attributes `leak_trait`, `wanted_trait`, `left_out` (prompts without a prediction, and why), and those of
        `predict`. Sorted by standing, then leak.

    Raises:
        IncompleteStore: There is nothing to learn from, no prior and no run, no prompt has both numbers, or the stores
            do not have one negative and one positive trait.

    Examples:
        >>> inoc.outcomes.recommend(store)["leak"].dims
        ('row',)
    """
    targets = as_list(stores if untrained is None else untrained)
    leak, wanted = _traits(targets)
    names = dict(zip([store.path for store in targets], experiment_names(targets), strict=True))
    measured: list[Row] = []
    by_path = suppressions(targets, recipe, step, include_flagged)[0]
    untried = untrained is not None or train > 0 or len(by_path) < len(targets)
    for store in (store for store in targets if store.path in by_path):
        own = _measured(names[store.path], by_path[store.path], leak, wanted)
        cells = product(prompt_column(store, "text"), ("fixed", "mix"))
        untried = untried or not set(cells) <= {(row.prompt, row.prefix_type) for row in own}
        measured += own
    if prompts and measured:
        kept = of_prompts(targets, prompts, np.array([row.prompt for row in measured]))
        measured = [row for row, keep in zip(measured, kept, strict=True) if keep]
    if measured and not untried:
        return _alone(measured, targets, leak, wanted, recipe, "Every prompt was trained; nothing is predicted.")
    try:
        given = gather(
            stores, untrained, prompts=prompts, prior=prior, recipe=recipe, step=step, include_flagged=include_flagged
        )
    except IncompleteStore as error:
        if not measured:
            raise
        return _alone(measured, targets, leak, wanted, recipe, f"Trained prompts only; no prediction: {error}")
    found = predict_of(given.table, given.new, control=control, prior=given.prior).assign_attrs(given.said)
    pp, share = (np.isfinite(found.sel(trait=[leak, wanted])[n].values).any() for n in ("predicted", "share"))
    in_pp = bool(pp or not share)
    rows, left_out = _predicted(found, leak, wanted, PP if in_pp else SHARE)
    rows += measured if in_pp else []
    asked = set(given.new["prompt"].values.astype(str).tolist())
    rows = [row for row in rows if row.prompt in asked]
    if not rows:
        reasons = "; ".join(dict.fromkeys(left_out)) or "every prompt is trained, or none is stored"
        raise IncompleteStore(f"no prompt can be ranked: {reasons}. Fix: score the prompts with `inoc score`.")
    planned = plan_of(given.table, given.new, train, given.prior) if train else []
    table = _table(rows, targets, planned)
    return table.assign_attrs(
        {**found.attrs, "left_out": left_out, "leak_trait": leak, "wanted_trait": wanted},
        units="pp" if in_pp else "1",
        trust=trust(found),
        doubts=doubts(found),
        planned=[f"{prompt} ({kind})" for _, prompt, kind in planned],
    )


def _alone(
    rows: Sequence["Row"], targets: Sequence[Store], leak: str, wanted: str, recipe: Recipe, why: str
) -> xr.Dataset:
    """The table of what was measured, without predictions."""
    about = {"recipe": recipe, "leak_trait": leak, "wanted_trait": wanted, "units": "pp", "trust": [why]}
    return _table(rows, targets, []).assign_attrs(about, left_out=[], planned=[], doubts=[])


def standings(leak: Float64[np.ndarray, "row 3"], loss: Float64[np.ndarray, "row 3"]) -> list[str]:
    """The standing of each row by estimate, lower and upper end: of `leak` more is better, of `loss` less.

    "front": no other row is better in one and as good in the other. Of the others, "behind": a row of the front is
    clearly better in one (by more than the intervals of both together, as of independent errors) and not clearly worse
    in the other; else "close".
    """
    rows = range(len(leak))
    points = list(zip(leak[:, 0].tolist(), loss[:, 0].tolist(), strict=True))
    front = [i for i in rows if not any(_dominates(*points[j], *points[i]) for j in rows)]

    def ahead(i: int, j: int) -> bool:
        """Whether row i is clearly ahead of row j."""
        more, cheaper = _clearly_more(leak[i], leak[j]), _clearly_more(loss[j], loss[i])
        less, dearer = _clearly_more(leak[j], leak[i]), _clearly_more(loss[i], loss[j])
        return (more and not dearer) or (cheaper and not less)

    return ["front" if j in front else "behind" if any(ahead(i, j) for i in front) else "close" for j in rows]


def _dominates(leak: float, loss: float, other_leak: float, other_loss: float) -> bool:
    return leak >= other_leak and loss <= other_loss and (leak > other_leak or loss < other_loss)


def _clearly_more(one: Float64[np.ndarray, " 3"], other: Float64[np.ndarray, " 3"]) -> bool:
    """Whether one estimate exceeds another by more than their facing half widths together (root of squares)."""
    return bool(one[0] - other[0] > np.hypot(one[0] - one[1], other[2] - other[0]))


def _traits(stores: Sequence[Store]) -> tuple[str, str]:
    """The leaking and the wanted trait of the stores."""
    found: list[str] = []
    for role in ("negative", "positive"):
        names = {trait.name for store in stores for trait in store.traits if trait.role == role}
        if len(names) != 1:
            said = ", ".join(sorted(names)) or "none"
            raise IncompleteStore(
                f"ranking prompts needs one {role} trait; the stores have {said}. Fix: name stores of one study, with "
                "a score in each role."
            )
        found.append(names.pop())
    return found[0], found[1]


class Row(NamedTuple):
    """One prompt and prefix type: estimate, lower and upper end of leak and loss."""

    experiment: str
    prompt: str
    prefix_type: str
    leak: tuple[float, ...]
    loss: tuple[float, ...]
    measured: bool


def _predicted(found: xr.Dataset, leak: str, wanted: str, numbers: Sequence[str]) -> tuple[list[Row], list[str]]:
    """The rows that have both predictions, and why others have not."""
    rows: list[Row] = []
    left_out: list[str] = []
    for prompt, kind in product(found["prompt"].values.astype(str).tolist(), found["prefix_type"].values.astype(str)):
        cell = found.sel(prompt=prompt, prefix_type=kind)
        reasons, far = (cell.sel(trait=[leak, wanted])[n].values.tolist() for n in ("reason", "far"))
        if "trained" in reasons:
            continue
        leaks, losses = (tuple(float(cell.sel(trait=trait)[n]) for n in numbers) for trait in (leak, wanted))
        if np.isfinite([*leaks, *losses]).all() and not any(far):
            rows.append(Row(str(cell["experiment"].item()), prompt, str(kind), leaks, losses, measured=False))
        else:
            why = "outside what was trained" if any(far) else next((r for r in reasons if r), "it has no interval")
            left_out.append(f"{prompt} ({kind}): {why}")
    return rows, left_out


def _measured(name: str, table: xr.Dataset, leak: str, wanted: str) -> list[Row]:
    """The trained prompts of a store, by paired t intervals; of several seeds the mean, with the widest interval."""
    labels = list(zip(*(table[n].values.astype(str).tolist() for n in ("run_prompt", "prefix_type")), strict=True))
    rows: list[Row] = []
    for prompt, kind in dict.fromkeys(labels):
        mine = table.isel(run=[i for i, cell in enumerate(labels) if cell == (prompt, kind)])
        leaks, losses = (_over_seeds(mine.sel(trait=trait)) for trait in (leak, wanted))
        if np.isfinite([*leaks, *losses]).all():
            rows.append(Row(name, prompt, kind, leaks, losses, measured=True))
    return rows


def _over_seeds(cell: xr.Dataset) -> tuple[float, ...]:
    mean, lower, upper = (cell[n].values.astype(np.float64) for n in ("mean", "lower", "upper"))
    center = float(np.mean(mean))
    return center, center - float(np.max(mean - lower)), center + float(np.max(upper - mean))


def _table(rows: Sequence[Row], stores: Sequence[Store], planned: Sequence[Cell]) -> xr.Dataset:
    """The rows as a Dataset, the front first, then by leak."""
    leak, loss = (np.array([getattr(row, n) for row in rows], dtype=np.float64) for n in ("leak", "loss"))
    found = standings(leak, loss)
    places = [planned.index(row[:3]) + 1 if row[:3] in planned else 0 for row in rows]
    order = sorted(range(len(rows)), key=lambda i: (STANDINGS.index(found[i]), -leak[i, 0]))
    texts, roles = ({k: v for s in stores for k, v in prompt_column(s, n).items()} for n in ("text", "role"))
    kept = [rows[i] for i in order]
    labels = {
        **{name: [getattr(row, name) for row in kept] for name in ("experiment", "prompt", "prefix_type")},
        "text": [texts.get(row.prompt, "") for row in kept],
        "role": [roles.get(row.prompt, "") for row in kept],
    }
    result = xr.Dataset(coords={name: ("row", np.array(values, dtype=object)) for name, values in labels.items()})
    for name, values, words in (("leak", leak, "leak held back"), ("loss", loss, "loss of the wanted trait")):
        for end, column in zip(ENDS, values[order].T, strict=True):
            result[name + end] = ("row", column, {"long_name": words})
    result["measured"] = ("row", np.array([row.measured for row in kept], dtype=bool))
    result["standing"] = ("row", np.array([found[i] for i in order], dtype=object))
    result["train"] = ("row", np.array([places[i] for i in order], dtype=np.int64))
    return result
