"""Predictions from tidy rows: what trained prompts say about others, with an interval and an honest error."""

from collections.abc import Mapping, Sequence

import numpy as np
import xarray as xr
from jaxtyping import Float64

from inoc.errors import IncompleteStore
from inoc.names import refuse_unknown
from inoc.outcomes.answers import Answer, Knowledge
from inoc.outcomes.candidates import Candidate, candidates, named, of_heuristics
from inoc.outcomes.features import Features, features
from inoc.outcomes.learning import FEWEST, RELATIONS, errors_of, learn, related, sample_of
from inoc.outcomes.performance_table import choose
from inoc.outcomes.selection import Sample, fit
from inoc.outcomes.shipped import Shipped

KINDS = ("fixed", "mix")
OWN_READS = ("elicitation", "direction", "salience", "relevant", "consistency")
"""What an estimator from outside reads unless heuristics are named."""


def predict_of(
    table: xr.Dataset,
    new: xr.Dataset,
    heuristics: Sequence[str] | None = None,
    *,
    model: str | None = None,
    control: Mapping[str, float] | None = None,
    prior: Shipped | None = None,
) -> xr.Dataset:
    """`predict` from tidy rows.

    Args:
        table: Rows with outcomes, as `rows` returns them; may have none where there is a prior.
        new: Rows without outcomes: the prompts to predict. A variable `control` (pp) is used where it is finite.
        heuristics: What a predictor may read, by name in the table; the candidates of inoc if not given.
        model: Only this candidate, or an estimator `package:estimator`.
        control: Trait -> score of the control run (0-100), where no control run tells.
        prior: A calibration from other studies; none if not given.

    Returns:
        The Dataset of `predict`.

    Raises:
        IncompleteStore: Fewer than 4 distinct trained prompts, and no prior.
        BadInput: An unknown heuristic, model or trait.
    """
    trained = np.unique(table["prompt"].values[np.isfinite(table["suppression"].values)].astype(str)).size
    if trained < FEWEST and prior is None:
        said = "prompt was" if trained == 1 else "prompts were"
        raise IncompleteStore(
            f"only {trained} distinct {said} trained and evaluated; predicting without the shipped calibration needs "
            f"at least {FEWEST} (and is rough below 20). Fix: train more prompts, add a store that has them with "
            "--store, or leave out --no-prior."
        )
    traits = list(dict.fromkeys(new["trait"].values.astype(str).tolist()))
    refuse_unknown("trait of the control run", control or (), traits)
    new = _untrained(table, new)
    read = features(table, new)
    known: dict[str, Knowledge] = {}
    for relation in RELATIONS:
        tried = _able(_candidates(table, read, relation, heuristics, model, prior), new, read, relation)
        sample = sample_of(table, read.names, read.values[0], relation)
        learned = learn(sample, tried)
        few = not learned.fitted and sample.share.size >= 2 and heuristics is None
        gates = tuple(prior.usable(relation, read)) if prior is not None and model is None else ()
        updated = fit(tried[0], sample) if few and prior is not None and model is None else None
        known[relation] = Knowledge(learned, updated, gates)
    kinds = [k for k in KINDS if k in {*table["prefix_type"].values.tolist(), *new["prefix_type"].values.tolist()}]
    result = _labeled(table, new, read, known, kinds, traits, control or {})
    errors = errors_of({relation: each.model for relation, each in known.items()}, kinds)
    shipped = [[_prior_error(known[relation], kind) for kind in kinds] for relation in RELATIONS]
    errors["prior_error"] = (("relation", "prefix_type"), np.array(shipped).reshape(len(RELATIONS), len(kinds)))
    errors["prior_error"].attrs = {"units": "pp", "long_name": "RMSE of the shipped calibration on left-out studies"}
    both = xr.merge([result, errors], join="outer", compat="no_conflicts")  # pyright: ignore[reportUnknownMemberType]
    return both.assign_attrs(
        left_out=list(table.attrs.get("left_out", [])),
        recipe=str(table.attrs.get("recipe", "corrected")),
        salience=read.salience,
        consistency=read.consistency,
        prior=prior.words if prior is not None else "",
    )


def _prior_error(known: Knowledge, kind: str) -> float:
    """Error (pp) of the preferred shipped gate on a study it was not fitted to; NaN without one."""
    return known.gates[0].error[kind]["study"].pp if known.gates else np.nan


def _able(tried: Sequence[Candidate], new: xr.Dataset, read: Features, relation: str) -> tuple[Candidate, ...]:
    """The candidates that can tell at least one of the new prompts; all where none is asked for."""
    x = read.values[1][related(new, relation)]

    def able(candidate: Candidate) -> bool:
        known = set(candidate.reads) <= set(read.names)
        return known and bool(np.isfinite(x[:, [read.names.index(n) for n in candidate.reads]]).all(axis=1).any())

    found = tuple(candidate for candidate in tried if able(candidate))
    return found if len(x) and found else tuple(tried)


def _candidates(
    table: xr.Dataset,
    read: Features,
    relation: str,
    heuristics: Sequence[str] | None,
    model: str | None,
    prior: Shipped | None,
) -> tuple[Candidate, ...]:
    """What is tried for a relation."""
    priors = prior.priors(relation, read) if prior is not None else None
    found = candidates(read.consistency, priors)
    chosen: list[str] = []
    if heuristics is not None:
        names = [str(name) for name in table["heuristic"].values]
        chosen = [names[i] for i in choose(names, heuristics, table.attrs.get("absent", ()))]
        found = of_heuristics(chosen)
    return found if model is None else (named(model, found, chosen or OWN_READS),)


def _untrained(table: xr.Dataset, new: xr.Dataset) -> xr.Dataset:
    """The rows of `new` whose prompt and prefix type no calibrating run was trained with."""
    key = ("experiment", "prompt", "prefix_type")
    done = set(zip(*(table[name].values[np.isfinite(table["suppression"].values)] for name in key), strict=True))
    keep = [cell not in done for cell in zip(*(new[name].values for name in key), strict=True)]
    return new.isel(row=np.flatnonzero(keep))


def _controls(table: xr.Dataset, new: xr.Dataset, given: Mapping[str, float]) -> Float64[np.ndarray, " row"]:
    """The control's score of each row of `new`: its own, of its store, as given, else the mean of other stores."""
    control, trait, store = (table[n].values for n in ("control", "trait", "experiment"))
    own = new["control"].values.astype(np.float64) if "control" in new else np.full(new.sizes["row"], np.nan)
    result = own.copy()
    for row in np.flatnonzero(~np.isfinite(own)):
        same = (trait == new["trait"].values[row]) & np.isfinite(control.astype(np.float64))
        here = same & (store == new["experiment"].values[row])
        name = str(new["trait"].values[row])
        found = control[here if here.any() else same].astype(np.float64)
        if here.any() or (name not in given and found.size):
            result[row] = found.mean()
        elif name in given:
            result[row] = given[name]
    return result


def _labeled(
    table: xr.Dataset,
    new: xr.Dataset,
    read: Features,
    known: Mapping[str, Knowledge],
    kinds: Sequence[str],
    traits: Sequence[str],
    given: Mapping[str, float],
) -> xr.Dataset:
    """The answers as a Dataset over prompt, prefix type and trait."""
    names = ("experiment", "prompt", "family", "prefix_type", "trait")
    labels = list(zip(*(new[name].values.astype(str).tolist() for name in names), strict=True))
    prompts = list(dict.fromkeys(label[:3] for label in labels))
    shape = (len(prompts), len(kinds), len(traits))
    control = _controls(table, new, given)
    columns = (new[n].values.astype(str) for n in ("prompt", "family", "experiment", "prefix_type"))
    rows = Sample(read.names, read.values[1], np.full(control.size, np.nan), control, *columns)
    trained = set(table["trait"].values.astype(str).tolist())
    unlike = new["unlike"].values.astype(bool) if "unlike" in new else np.zeros(control.size, dtype=bool)
    numbers = ("share", "share_lower", "share_upper", "predicted", "lower", "upper", "control")
    cells: dict[str, np.ndarray] = {
        **{name: np.full(shape, np.nan) for name in numbers},
        **{name: np.full(shape, "", dtype=object) for name in ("used", "basis", "outside")},
        "reason": np.full(shape, "trained", dtype=object),
        **{name: np.zeros(shape, dtype=bool) for name in ("on_target", "far")},
    }
    for row, (experiment, prompt, family, kind, trait) in enumerate(labels):
        at = (prompts.index((experiment, prompt, family)), list(kinds).index(kind), traits.index(trait))
        asked = bool(new["on_target"].values[row])
        one = rows.take(np.arange(control.size) == row)
        found = known[RELATIONS[0] if asked else RELATIONS[1]].answer(
            one, familiar=trait in trained and not unlike[row]
        )
        values = {"on_target": asked, "control": control[row], **_cut(found, float(control[row]))}
        for name in ("used", "basis", "outside", "far", "reason"):
            values[name] = getattr(found, name)
        for name, value in values.items():
            cells[name][at] = value
    dims = ("prompt", "prefix_type", "trait")
    units = {name: "1" if name.startswith("share") else "pp" for name in numbers}
    return xr.Dataset(
        {name: (dims, v, {"units": units[name]} if name in units else {}) for name, v in cells.items()},
        coords={
            "prompt": [prompt for _, prompt, _ in prompts],
            "prefix_type": list(kinds),
            "trait": list(traits),
            "experiment": ("prompt", [experiment for experiment, _, _ in prompts]),
            "family": ("prompt", [family for _, _, family in prompts]),
        },
    )


def _cut(found: Answer, control: float) -> dict[str, float]:
    """Share and pp, cut to what is possible: no run scores below 0 or above 100."""
    shares = np.array([found.share, found.lower, found.upper])
    pp = np.clip(shares * control, control - 100.0, control) if np.isfinite(control) else np.full(3, np.nan)
    least = (control - 100.0) / control if np.isfinite(control) and control > 0 else -1.0
    cut = np.clip(shares, least, 1.0)
    names = ("share", "share_lower", "share_upper", "predicted", "lower", "upper")
    return dict(zip(names, [*cut.tolist(), *pp.tolist()], strict=True))
