"""Predictions in words: one card per prompt, and how much they can be trusted."""

# pyright: reportUnknownMemberType=false

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

ROUGH = 20
"""Distinct trained prompts below which predictions are called rough."""
Record = dict[str, str | int | float | bool | None]

NEAR = 5.0
"""pp below the strongest prediction that still count as strong when the cheapest prompt is sought."""


@dataclass(frozen=True)
class Card:
    """Advice about one prompt for one trait and prefix type."""

    prompt: str
    prefix_type: str
    trait: str
    predicted: float
    lower: float
    upper: float
    remarks: tuple[str, ...]
    outside: str = ""
    """Why the prompt lies outside the calibration, "" inside."""
    far: bool = False
    """Too far outside for a number."""

    def __str__(self) -> str:
        name = f"{self.prompt} ({self.prefix_type})"
        if self.far:
            return f"{name}: cannot say: outside the range of what was trained ({self.outside})"
        known = np.isfinite(self.lower)
        end = f" [{round(self.lower)}, {round(self.upper)}]" if known else " (no interval)"
        just = [f"just outside the range of what was trained ({self.outside})"] if self.outside else []
        remarks = "".join(f"; {text}" for text in [", ".join(self.remarks), *just] if text)
        return f"{name}: predicted {round(self.predicted)} pp{end}{remarks}"


def cards(prediction: xr.Dataset, texts: Mapping[str, str] | None = None) -> list[Card]:
    """A card for every prompt, prefix type and trait it asks for, the strongest first within trait and
    prefix type, those outside the calibration last. The words of one far outside hold no number.

    Remarks: `strongest` (highest prediction of its trait and prefix type inside the calibration range),
    `cheapest to train` (shortest text of those within 5 pp of the strongest: every training example carries
    the prompt), whether no effect is possible, and what happens to the other trait, where its model beats the
    mean. `texts`: prompt texts by key, for the length.
    """
    result: list[Card] = []
    for trait in prediction["trait"].values.astype(str):
        for kind in prediction["prefix_type"].values.astype(str):
            part = prediction.sel(trait=trait, prefix_type=kind)
            used = part["on_target"].values.astype(bool) & np.isfinite(part["predicted"].values)
            beyond, values = part["outside"].values.astype(str), part["predicted"].values
            order = sorted(np.flatnonzero(used).tolist(), key=lambda i: (bool(beyond[i]), -float(values[i])))
            marks = _marks(part, order, texts or {}) if _better_than_mean(prediction, kind) else {}
            for i in order:
                inside = not beyond[i]
                remarks = [*marks.get(i, []), *_doubts(prediction, part, i, trait, kind)] if inside else []
                low, high = float(part["lower"].values[i]), float(part["upper"].values[i])
                name = str(part["prompt"].values[i])
                result.append(
                    Card(
                        name,
                        kind,
                        trait,
                        float(values[i]),
                        low,
                        high,
                        tuple(remarks),
                        str(beyond[i]),
                        bool(part["far"].values[i]),
                    )
                )
    return result


def trust(prediction: xr.Dataset) -> list[str]:
    """Sentences on how far to trust the predictions: the prompts behind them and the left-out errors."""
    said: list[str] = []
    for relation, what in (("on_target", "the trait a prompt asks for"), ("other_trait", "the other trait")):
        for kind in prediction["error"]["prefix_type"].values.astype(str):
            cell = prediction.sel(relation=relation, prefix_type=kind)
            prompts, n = int(cell["prompts"].item()), int(cell["rows"].item())
            if not prompts:
                said.append(f"{kind}, {what}: no prediction, {cell['model'].item()}.")
                continue
            errors = [e for e in (_errors(cell["error"], name) for name in ("family", "store")) if e]
            errors = errors or [_errors(cell["error"], "prompt")]
            rough = " Rough: fewer than 20 prompts." if prompts < ROUGH else ""
            said.append(
                f"{kind}, {what}: {cell['model'].item()}, learnt from {prompts} distinct prompts ({n} rows); "
                f"typical error on a left-out {'; on a left-out '.join(errors)}."
                f"{rough}{_warning(cell['error'])}"
            )
    return said


def silent_about_others(prediction: xr.Dataset) -> str:
    """One sentence on why the cards leave out what happens to the other trait; empty where they say it."""
    kinds = [
        kind
        for kind in prediction["error"]["prefix_type"].values.astype(str).tolist()
        if _no_better(prediction, "other_trait", kind)
    ]
    if not kinds:
        return ""
    return (
        f"What {' and '.join(kinds)} runs do to the other trait is left out: on what it has not seen, its model "
        "does no better than guessing the mean."
    )


def _no_better(prediction: xr.Dataset, relation: str, kind: str) -> bool:
    """Whether a model errs as much as the mean: on new families, or where only one was trained on new prompts."""
    error = prediction["error"].sel(relation=relation, prefix_type=kind)
    new = error.sel(left_out="family")
    if not np.isfinite(float(new.sel(predictor="chosen"))):
        new = error.sel(left_out="prompt")
    return float(new.sel(predictor="chosen")) >= float(new.sel(predictor="constant"))


def _errors(error: xr.DataArray, left_out: str) -> str:
    chosen, elicitation, constant = (
        float(error.sel(left_out=left_out, predictor=p)) for p in ("chosen", "elicitation", "constant")
    )
    if not np.isfinite(chosen):
        return ""
    beside = (
        f"{elicitation:.0f} with elicitation only" if np.isfinite(elicitation) else "elicitation not stored"
    )
    return f"{left_out} {chosen:.0f} pp ({beside}, {constant:.0f} always guessing the mean)"


def _warning(error: xr.DataArray) -> str:
    chosen = float(error.sel(left_out="family", predictor="chosen"))
    constant = float(error.sel(left_out="family", predictor="constant"))
    if not np.isfinite(chosen):
        return " Only one family was trained, so how it carries over to another is unknown."
    if chosen >= constant:
        return " No better than guessing the mean on a new family: do not act on it."
    elicitation = float(error.sel(left_out="family", predictor="elicitation"))
    if chosen > elicitation:
        return " Elicitation alone does better on a new family."
    return ""


def _better_than_mean(prediction: xr.Dataset, kind: str) -> bool:
    """Whether the on-target model beats the mean on families it has not seen: ranking prompts needs that."""
    error = prediction["error"].sel(relation="on_target", prefix_type=kind, left_out="family")
    return float(error.sel(predictor="chosen")) < float(error.sel(predictor="constant"))


def _marks(part: xr.Dataset, order: Sequence[int], texts: Mapping[str, str]) -> dict[int, list[str]]:
    """`strongest` and `cheapest to train` among the prompts inside the calibration range."""
    inside = [i for i in order if not str(part["outside"].values[i])]
    if len(inside) < 2:
        return {}
    best = float(part["predicted"].values[inside[0]])
    if best <= NEAR:
        return {}
    near = [i for i in inside if float(part["predicted"].values[i]) >= best - NEAR]
    marks: dict[int, list[str]] = {inside[0]: ["strongest"]}
    known = [i for i in near if str(part["prompt"].values[i]) in texts]
    if known:
        cheapest = min(known, key=lambda i: len(texts[str(part["prompt"].values[i])]))
        marks.setdefault(cheapest, []).append("cheapest to train")
    return marks


def _doubts(prediction: xr.Dataset, part: xr.Dataset, i: int, trait: str, kind: str) -> list[str]:
    said: list[str] = []
    low, high = float(part["lower"].values[i]), float(part["upper"].values[i])
    if low <= 0 <= high:
        said.append("may do nothing")
    others: list[str] = prediction["trait"].values.astype(str).tolist()
    for other in [] if _no_better(prediction, "other_trait", kind) else others:
        cell = prediction.sel(prefix_type=kind, trait=other).isel(prompt=i)
        value = float(cell["predicted"].item())
        known = np.isfinite(value) and not bool(cell["far"].item())
        if other != trait and not bool(cell["on_target"].item()) and known:
            change = round(-value)
            said.append(f"{other} changes by {f'{change:+d}' if change else '0'} pp")
    return said


def unpredicted(prediction: xr.Dataset, trait: str | None = None) -> dict[str, list[str]]:
    """Reason -> prompts that ask for a trait (or are neutral), are not trained, and have no prediction."""
    found: dict[str, list[str]] = {}
    for record in prediction_records(prediction):
        if record["predicted"] is None and record["on_target"] and trait in (None, record["trait"]):
            names = found.setdefault(str(record["reason"]), [])
            name = f"{record['prompt']} ({record['prefix_type']})"
            if name not in names:
                names.append(name)
    return found


def prediction_records(prediction: xr.Dataset) -> list[Record]:
    """One record per untrained prompt, prefix type and trait; missing numbers as None."""
    result: list[Record] = []
    for p, prompt in enumerate(prediction["prompt"].values.astype(str)):
        for kind in prediction["prefix_type"].values.astype(str):
            for trait in prediction["trait"].values.astype(str):
                cell = prediction.isel(prompt=p).sel(prefix_type=kind, trait=trait)
                if str(cell["reason"].item()) == "trained":
                    continue
                result.append(
                    {
                        "experiment": str(cell["experiment"].item()),
                        "prompt": str(prompt),
                        "family": str(cell["family"].item()),
                        "prefix_type": str(kind),
                        "trait": str(trait),
                        "on_target": bool(cell["on_target"].item()),
                        "predicted": _finite(cell["predicted"]),
                        "lower": _finite(cell["lower"]),
                        "upper": _finite(cell["upper"]),
                        "control": _finite(cell["control"]),
                        "outside": str(cell["outside"].item()),
                        "far": bool(cell["far"].item()),
                        "reason": str(cell["reason"].item()),
                    }
                )
    return result


def model_records(prediction: xr.Dataset) -> list[Record]:
    """One record per model: what it is, what it rests on, and its errors (pp, RMSE) on what it has not seen."""
    result: list[Record] = []
    for relation in prediction["relation"].values.astype(str):
        for kind in prediction["error"]["prefix_type"].values.astype(str):
            cell = prediction.sel(relation=relation, prefix_type=kind)
            record: Record = {
                "relation": str(relation),
                "prefix_type": str(kind),
                "model": str(cell["model"].item()),
                "prompts": int(cell["prompts"]),
                "rows": int(cell["rows"]),
            }
            for left_out in prediction["left_out"].values.astype(str):
                for predictor in prediction["predictor"].values.astype(str):
                    error = cell["error"].sel(left_out=left_out, predictor=predictor)
                    record[f"error_new_{left_out}_{predictor}"] = _finite(error)
            result.append(record)
    return result


def _finite(value: xr.DataArray) -> float | None:
    x = float(value)
    return x if np.isfinite(x) else None
