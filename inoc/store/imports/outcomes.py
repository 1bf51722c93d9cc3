"""Prompts, rephrasing pools, elicitation, scores and losses of other pipelines, parsed and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadInput
from inoc.store.imports.logprobs import compare
from inoc.store.imports.reading import (
    Json,
    as_int,
    as_list,
    as_object,
    as_text,
    load_json,
    load_jsonl,
    number_or_nan,
    numbers,
)
from inoc.store.schema import CONDITIONS, ROLES, PromptInfo

Scores = Float64[np.ndarray, " instruction"]
UNKNOWN = "unknown"


def read_prompts(path: Path) -> dict[str, PromptInfo]:
    """{key: {text, group, family, role}} in the order of the file."""
    prompts: dict[str, PromptInfo] = {}
    for key, value in load_json(path).items():
        entry = as_object(value, f"{path}: {key}")
        if "text" not in entry:
            raise BadInput(f"{path}: {key} has no text.")
        fields = {f: as_text(entry[f], f"{path}: {key}.{f}") for f in PromptInfo._fields[1:] if f in entry}
        prompts[key] = PromptInfo(key, **fields)
        if prompts[key].role not in ROLES:
            raise BadInput(
                f"{path}: {key}.role is {prompts[key].role!r}; one of {', '.join(ROLES[:3])} is needed."
            )
    return prompts


def read_rephrasings(folder: Path) -> dict[str, list[str]]:
    """`<prompt>.jsonl` with one {"rephrasing": text} per line, for every prompt that has a pool."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder of rephrasings.")
    pools: dict[str, list[str]] = {}
    for file in sorted(folder.glob("*.jsonl")):
        pools[file.stem] = [
            as_text(row.get("rephrasing"), f"{where}: rephrasing") for where, row in load_jsonl(file)
        ]
    if not pools:
        raise BadInput(f"{folder} holds no .jsonl files.")
    return pools


@dataclass
class ElicitationSource:
    """Scores by (prompt, trait); the baseline under `baseline`."""

    traits: list[str]
    scores: dict[tuple[str, str], Scores]
    prompts: dict[str, str]
    baseline: dict[str, Scores] | None
    judges: dict[str, str]
    warnings: list[str] = field(default_factory=list[str])


def _judge(entry: Json, trait: str, where: str) -> str:
    """Judge of a trait from an optional key `judge`: one name, or one by trait."""
    said = entry.get("judge", UNKNOWN)
    if isinstance(said, dict):
        said = as_object(cast(object, said), where).get(trait, UNKNOWN)
    return as_text(said, f"{where}: judge")


def _one_judge(judges: dict[str, str], trait: str, judge: str, where: str) -> None:
    if judges.setdefault(trait, judge) != judge:
        raise BadInput(
            f"{where}: judge {judge!r}, but {judges[trait]!r} before; scores of two judges do not mix."
        )


def _read_scores(entry: Json, where: str, warnings: list[str]) -> Scores:
    """{values, mean, n_nan}: values 0-100 with null for missing; the scalars are checked against them."""
    if "values" not in entry:
        raise BadInput(f"{where} has no values.")
    values = numbers(entry["values"], f"{where}.values", low=0.0, high=100.0)
    finite = values[np.isfinite(values)]
    if "mean" in entry:
        found = float(finite.mean()) if finite.size else float("nan")
        compare(warnings, f"{where}.mean", number_or_nan(entry["mean"], f"{where}.mean"), found)
    if "n_nan" in entry and as_int(entry["n_nan"], f"{where}.n_nan") != values.size - finite.size:
        warnings.append(f"{where}.n_nan says {entry['n_nan']}, its values lack {values.size - finite.size}.")
    return values


def read_elicitation(path: Path, baseline: str | None, known: Mapping[str, PromptInfo]) -> ElicitationSource:
    """{prompt key: {prompt, n, scores: {trait: {mean, values}}}}.

    The baseline (no inoculation prompt) is the entry `baseline`, else "neutral" where that is no prompt's key.
    """
    top = load_json(path)
    if baseline is not None and baseline not in top:
        raise BadInput(f"{path} has no entry {baseline!r} to serve as baseline.")
    base = baseline or ("neutral" if "neutral" in top and "neutral" not in known else None)
    source = ElicitationSource([], {}, {}, None, {})
    for key, value in top.items():
        entry = as_object(value, f"{path}: {key}")
        per_trait = as_object(entry.get("scores"), f"{path}: {key}.scores")
        for trait, cell in per_trait.items():
            where = f"{path}: {key}.scores.{trait}"
            content = as_object(cell, where)
            values = _read_scores(content, where, source.warnings)
            _same(source, path, values, where)
            _one_judge(
                source.judges, trait, _judge(content if "judge" in content else entry, trait, where), where
            )
            if key == base:
                source.baseline = source.baseline or {}
                source.baseline[trait] = values
            if key != base or key in known:
                source.scores[key, trait] = values
                source.prompts[key] = as_text(entry.get("prompt", ""), f"{path}: {key}.prompt")
            if trait not in source.traits:
                source.traits.append(trait)
    if base is None:
        source.warnings.append(
            f"{path}: no entry without inoculation prompt ('neutral'), so elicitation has no baseline; "
            "--baseline names one."
        )
    return source


def _same(source: ElicitationSource, path: Path, values: Scores, where: str) -> None:
    for known in [*source.scores.values(), *(source.baseline or {}).values()][:1]:
        if len(known) != len(values):
            raise BadInput(
                f"{where}.values has {len(values)} values; {len(known)} are needed, as elsewhere in {path}."
            )


@dataclass
class RunSource:
    """One fine-tuning's evaluations."""

    name: str
    prompt: str
    prefix_type: str
    text: str
    settings: dict[str, object]
    seed: int
    nominal_step: int
    traits: list[str]
    judges: dict[str, str]
    cells: dict[tuple[int, str], dict[str, Scores]]
    size: int
    losses: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])

    @property
    def steps(self) -> list[int]:
        return sorted({step for step, _ in self.cells})

    @property
    def conditions(self) -> list[str]:
        found = {condition for _, condition in self.cells}
        return [c for c in CONDITIONS if c in found] + sorted(found - set(CONDITIONS))


def read_scores(path: Path, by_text: Mapping[str, str], warnings: list[str]) -> dict[str, RunSource]:
    """{run: {type, user_prefix | rephrasings_key, lr, judge?, steps: {step: {condition: {trait: {values, ...}}}}}}.

    `by_text` maps the text of a prompt to its key. The fields say what a run is, its name only where they do not.
    """
    runs: dict[str, RunSource] = {}
    for name, value in load_json(path).items():
        where = f"{path}: {name}"
        entry = as_object(value, where)
        run = _describe(name, entry, by_text, where)
        for step_text, conditions in as_object(entry.get("steps"), f"{where}.steps").items():
            number = as_int(step_text, f"{where}.steps: step")
            for condition, cells in as_object(conditions, f"{where}.steps.{step_text}").items():
                for trait, cell in as_object(cells, f"{where}.steps.{step_text}.{condition}").items():
                    place = f"{where}.steps.{step_text}.{condition}.{trait}"
                    content = as_object(cell, place)
                    values = _read_scores(content, place, warnings)
                    if run.size not in (0, len(values)):
                        raise BadInput(
                            f"{place}.values has {len(values)} values; {run.size} are needed, as elsewhere."
                        )
                    run.size = len(values)
                    _one_judge(
                        run.judges,
                        trait,
                        _judge(content if "judge" in content else entry, trait, place),
                        place,
                    )
                    run.cells.setdefault((number, condition), {})[trait] = values
                    if trait not in run.traits:
                        run.traits.append(trait)
        runs[name] = run
    return runs


def _describe(name: str, entry: Json, by_text: Mapping[str, str], where: str) -> RunSource:
    kind = as_text(entry.get("type", "mix" if "rephrasings_key" in entry else "fixed"), f"{where}.type")
    if kind not in ("none", "fixed", "mix"):
        raise BadInput(f"{where}.type is {kind!r}; one of none, fixed, mix is needed.")
    text = as_text(entry.get("user_prefix") or "", f"{where}.user_prefix")
    if kind == "mix":
        prompt = as_text(entry.get("rephrasings_key", name.removesuffix("_mix")), f"{where}.rephrasings_key")
    elif not text and ("user_prefix" in entry or name == "no_inoculation"):
        prompt, kind = "", "none"
    else:
        prompt = by_text.get(text, name)
    settings = {k: v for k, v in entry.items() if k not in _RUN_KEYS}
    if "lr" in entry:
        settings["learning_rate"] = number_or_nan(entry["lr"], f"{where}.lr")
    return RunSource(
        name, prompt, kind, text, settings, as_int(entry.get("seed", -1), f"{where}.seed"),
        as_int(entry.get("nominal_step", -1), f"{where}.nominal_step"), [], {}, {}, 0,
    )  # fmt: skip


_RUN_KEYS = {"type", "lr", "steps", "user_prefix", "rephrasings_key", "judge", "seed", "nominal_step"}


def read_losses(path: Path) -> dict[str, list[tuple[int, float, float]]]:
    """{run: [{step, loss, learning_rate}, ...]} -> (update, loss, learning rate) in order."""
    losses: dict[str, list[tuple[int, float, float]]] = {}
    for name, value in load_json(path).items():
        rows: list[tuple[int, float, float]] = []
        for i, item in enumerate(as_list(value, f"{path}: {name}")):
            where = f"{path}: {name}[{i}]"
            row = as_object(item, where)
            if "step" not in row or "loss" not in row:
                raise BadInput(f"{where} needs step and loss.")
            rate = number_or_nan(row.get("learning_rate"), f"{where}.learning_rate")
            rows.append(
                (as_int(row["step"], f"{where}.step"), number_or_nan(row["loss"], f"{where}.loss"), rate)
            )
        losses[name] = rows
    return losses
