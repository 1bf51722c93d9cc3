"""Predictions in words: one card per prompt, and how much they can be trusted."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from inoc.heuristics.frame.rows import plain
from inoc.outcomes.calibration import LEAK, control_lacks
from inoc.outcomes.learning import FEWEST, PREDICTORS

ROUGH = 20
"""Distinct trained prompts below which predictions are called rough."""
NEAR = 5.0
"""pp below the strongest prediction that still count as strong when the cheapest prompt is sought."""
Record = dict[str, object]


class Cell(NamedTuple):
    """What is predicted of one prompt, prefix type and trait, and the advice that `cards` give."""

    experiment: str
    prompt: str
    family: str
    prefix_type: str
    trait: str
    on_target: bool
    share: float
    share_lower: float
    share_upper: float
    predicted: float
    lower: float
    upper: float
    control: float
    used: str
    basis: str
    outside: str
    far: bool
    reason: str
    remarks: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The prompt with its prefix type."""
        return f"{self.prompt} ({self.prefix_type})"

    @property
    def known(self) -> bool:
        """Whether there is a number."""
        return bool(np.isfinite(self.share))

    def __str__(self) -> str:
        if self.far:
            return f"{self.name}: cannot say: outside the range of what was trained ({self.outside})"
        pp = np.isfinite(self.predicted)
        numbers = (self.predicted, self.lower, self.upper) if pp else (self.share, self.share_lower, self.share_upper)
        value, lower, upper = (number if pp else 100 * number for number in numbers)
        said = f"predicted {round(value)} pp" if pp else f"predicted {round(value)} %"
        end = f" [{round(lower)}, {round(upper)}]" if np.isfinite(lower) else " (no interval)"
        end += "" if pp else " of what the control shows"
        just = [f"just outside the range of what was trained ({self.outside})"] if self.outside else []
        remarks = "".join(f"; {text}" for text in [", ".join(self.remarks), *just] if text)
        return f"{self.name}: {said}{end}{remarks}"


FIELDS = Cell._fields[:-1]
"""What a prediction says of a cell."""


def untrained_cells(prediction: xr.Dataset) -> list[Cell]:
    """The cells of a prediction without those that are trained: by prompt, prefix type, trait."""
    dims = ("prompt", "prefix_type", "trait")
    shape = [prediction.sizes[dim] for dim in dims]
    columns = [
        np.ravel(prediction[name].broadcast_like(prediction["predicted"]).transpose(*dims).values).tolist()
        for name in FIELDS
    ]
    assert all(len(column) == np.prod(shape) for column in columns)
    return [cell for cell in map(Cell, *columns) if cell.reason != "trained"]


def prediction_records(prediction: xr.Dataset) -> list[Record]:
    """One record per untrained prompt, prefix type and trait; missing numbers as None."""
    return [{name: plain(getattr(cell, name)) for name in FIELDS} for cell in untrained_cells(prediction)]


def unpredicted(prediction: xr.Dataset, trait: str | None = None) -> dict[str, list[str]]:
    """Reason -> prompts that ask for a trait (or are neutral), are not trained, and have no prediction."""
    found: dict[str, dict[str, None]] = {}
    for cell in untrained_cells(prediction):
        if cell.on_target and not cell.known and trait in (None, cell.trait):
            found.setdefault(cell.reason, {})[cell.name] = None
    return {reason: list(names) for reason, names in found.items()}


def cards(prediction: xr.Dataset, texts: Mapping[str, str] | None = None) -> list[Cell]:
    """The cells of every prompt, prefix type and trait it asks for with remarks, in words by `str`: the strongest first
    within trait and prefix type, those outside the calibration last. The words of one far outside hold no number.

    Remarks: `strongest` (highest prediction of its trait and prefix type inside the calibration range),
    `cheapest to train` (shortest text of those within 5 pp of the strongest: every training example carries
    the prompt), whether no effect is possible, and what happens to the other trait, where its model beats the
    mean. `texts`: prompt texts by key, for the length.
    """
    cells = untrained_cells(prediction)
    found: list[Cell] = []
    for trait in prediction["trait"].values.astype(str).tolist():
        for kind in prediction["prefix_type"].values.astype(str).tolist():
            mine = [c for c in cells if (c.trait, c.prefix_type) == (trait, kind) and c.on_target and c.known]
            mine.sort(key=lambda c: (bool(c.outside), -c.share))
            ranked = _errs_less_than_mean(prediction, "on_target", kind)
            usual = str(prediction.sel(relation="on_target", prefix_type=kind)["model"].item())
            marks = _marks([c for c in mine if not c.outside], texts or {}) if ranked else {}
            tells = not _no_better(prediction, "other_trait", kind)
            for c in mine:
                others = [o for o in cells if o[:2] == c[:2] and o.prefix_type == kind] if tells else []
                by = [f"by {c.used}"] if c.used != usual and c.basis != "study" else []
                remarks = () if c.outside else (*marks.get(c, []), *_doubts(c, others), *by)
                found.append(c._replace(remarks=remarks))
    return found


def _marks(inside: Sequence[Cell], texts: Mapping[str, str]) -> dict[Cell, list[str]]:
    """`strongest` and `cheapest to train` among the prompts inside the calibration range, strongest first."""
    size = {c: c.predicted if np.isfinite(c.predicted) else 100 * c.share for c in inside}
    if len(inside) < 2 or size[inside[0]] <= NEAR:
        return {}
    marks: dict[Cell, list[str]] = {inside[0]: ["strongest"]}
    near = [c for c in inside if size[c] >= size[inside[0]] - NEAR and c.prompt in texts]
    if near:
        marks.setdefault(min(near, key=lambda c: len(texts[c.prompt])), []).append("cheapest to train")
    return marks


def _doubts(cell: Cell, others: Sequence[Cell]) -> list[str]:
    """Whether no effect is possible, and what happens to the other traits."""
    said = ["may do nothing"] if cell.share_lower <= 0 <= cell.share_upper else []
    for other in others:
        if other.trait != cell.trait and not other.on_target and np.isfinite(other.predicted) and not other.far:
            change = round(-other.predicted)
            said.append(f"{other.trait} changes by {f'{change:+d}' if change else '0'} pp")
    return said


def trust(prediction: xr.Dataset) -> list[str]:
    """Sentences on how far to trust the predictions: the prompts behind them and the left-out errors."""
    said: list[str] = []
    for relation, what in (("on_target", "the trait a prompt asks for"), ("other_trait", "the other trait")):
        for kind in prediction["error"]["prefix_type"].values.astype(str):
            cell = prediction.sel(relation=relation, prefix_type=kind)
            prompts, n = int(cell["prompts"].item()), int(cell["rows"].item())
            if not np.isfinite(_errors(prediction, relation, kind, "prompt").constant):
                said.append(f"{kind}, {what}: {_from_elsewhere(prediction, relation, kind, prompts)}")
                continue
            errors = [_told(name, _errors(prediction, relation, kind, name)) for name in ("family", "store")]
            errors = [e for e in errors if e] or [_told("prompt", _errors(prediction, relation, kind, "prompt"))]
            rough = " Rough: fewer than 20 prompts." if prompts < ROUGH else ""
            said.append(
                f"{kind}, {what}: {cell['model'].item()}, learned from {prompts} distinct prompts ({n} rows); "
                f"typical error on a left-out {'; on a left-out '.join(errors)}."
                f"{rough}{_warning(_errors(prediction, relation, kind, 'family'))}"
            )
    return said


def _from_elsewhere(prediction: xr.Dataset, relation: str, kind: str, prompts: int) -> str:
    """What is said where the user's runs do not tell: by the shipped calibration, or nothing."""
    error = float(prediction.sel(relation=relation, prefix_type=kind)["prior_error"])
    runs = (
        "no runs to learn from"
        if not prompts
        else f"only {prompts} distinct trained prompt{'' if prompts == 1 else 's'}"
    )
    if not np.isfinite(error):
        return f"no prediction, {runs}; {FEWEST} trained prompts are needed."
    return (
        f"{runs}: the shipped calibration answers, fitted to {prediction.attrs['prior']}; typical error on a trait it "
        f"was not fitted to {error:.0f} pp, on another model or other training more."
    )


def doubts(prediction: xr.Dataset) -> list[str]:
    """Sentences about all predictions: settings they were not calibrated at, controls that hardly show a trait."""
    calibrated, other = (list(prediction.attrs.get(name, [])) for name in ("settings", "unlike"))
    said: list[str] = []
    if calibrated:
        said.append(f"Calibrated at: {'; '.join(calibrated)}.")
    if other:
        said.append(
            f"Asked for: {'; '.join(other)}. Other settings can outweigh the prompt (a neutral prefix took 83 % of a "
            "trait at a learning rate of 1e-4 and 19 % at 5e-6): the intervals are those of another study."
        )
    for trait in prediction["trait"].values.astype(str).tolist():
        of_trait = prediction.sel(trait=trait)
        control = of_trait["control"].values
        known = control[np.isfinite(control)]
        if known.size and known.min() < LEAK:
            said.append(control_lacks(trait, float(known.min())))
        elif not known.size and (of_trait["reason"].values.astype(str) != "trained").any():
            said.append(
                f"No control run tells how much of {trait} leaks: shares of the control's score are given. Fix: train "
                f"and evaluate a control run, or give --control {trait}=SCORE."
            )
    if prediction.attrs.get("prior_left_out"):
        said.append(f"The shipped calibration is left out: {prediction.attrs['prior_left_out']}.")
    return said


def silent_about_others(prediction: xr.Dataset) -> str:
    """One sentence on why the cards leave out what happens to the other trait; empty where they say it."""
    known = prediction["error"]["prefix_type"].values.astype(str).tolist()
    kinds = [kind for kind in known if _no_better(prediction, "other_trait", kind)]
    if not kinds:
        return ""
    return (
        f"What {' and '.join(kinds)} runs do to the other trait is left out: on what it has not seen, its model "
        "does no better than guessing the mean."
    )


class Errors(NamedTuple):
    """RMSE (pp) on what was left out, of each of `PREDICTORS`."""

    chosen: float
    elicitation: float
    constant: float


def _errors(prediction: xr.Dataset, relation: str, kind: str, left_out: str) -> Errors:
    cell = prediction.sel(relation=relation, prefix_type=kind, left_out=left_out)
    return Errors(*(float(cell.sel(predictor=name)["error"]) for name in PREDICTORS))


def _errs_less_than_mean(prediction: xr.Dataset, relation: str, kind: str) -> bool:
    """Whether a model beats the mean on families it has not seen: ranking prompts needs that.

    The shipped calibration did.
    """
    error = _errors(prediction, relation, kind, "family")
    if not np.isfinite(_errors(prediction, relation, kind, "prompt").constant):
        return bool(np.isfinite(prediction.sel(relation=relation, prefix_type=kind)["prior_error"]))
    return error.chosen < error.constant


def _no_better(prediction: xr.Dataset, relation: str, kind: str) -> bool:
    """Whether a model errs as much as the mean: on new families, or where only one was trained on new prompts."""
    error = _errors(prediction, relation, kind, "family")
    if not np.isfinite(error.chosen):
        error = _errors(prediction, relation, kind, "prompt")
    return bool(error.chosen >= error.constant)


def _told(left_out: str, error: Errors) -> str:
    if not np.isfinite(error.chosen):
        return ""
    known = np.isfinite(error.elicitation)
    alone = f"{error.elicitation:.0f} with elicitation only" if known else "elicitation not stored"
    return f"{left_out} {error.chosen:.0f} pp ({alone}, {error.constant:.0f} always guessing the mean)"


def _warning(error: Errors) -> str:
    if not np.isfinite(error.chosen):
        return " Only one family was trained, so how it carries over to a new one is unknown."
    if error.chosen >= error.constant:
        return " No better than guessing the mean on a new family: do not act on it."
    return " Elicitation alone does better on a new family." if error.chosen > error.elicitation else ""


def model_records(prediction: xr.Dataset) -> list[Record]:
    """One record per model: what it is, what it rests on, and its errors (pp, RMSE) on what it has not seen."""
    found: list[Record] = []
    for relation in prediction["relation"].values.astype(str).tolist():
        for kind in prediction["error"]["prefix_type"].values.astype(str).tolist():
            cell = prediction.sel(relation=relation, prefix_type=kind)
            record: Record = {"relation": relation, "prefix_type": kind, "model": str(cell["model"].item())}
            record |= {"prompts": int(cell["prompts"]), "rows": int(cell["rows"])}
            for left_out in prediction["left_out"].values.astype(str).tolist():
                errors = _errors(prediction, relation, kind, left_out)._asdict()
                record |= {f"error_new_{left_out}_{name}": plain(value) for name, value in errors.items()}
            found.append(record)
    return found
