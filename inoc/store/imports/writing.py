"""Parsed sources become a store."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.errors import BadInput
from inoc.store.imports.logprobs import LogprobSource
from inoc.store.imports.outcomes import ElicitationSource, RunSource
from inoc.store.runs import RunPlan
from inoc.store.schema import COMPLETION_SETS, PREFIX_TYPES, Level, PromptInfo, TraitInfo, Unit
from inoc.store.writer import StoreWriter


@dataclass
class ImportSummary:
    """What was imported, what is missing and what was odd."""

    store: str
    prompts: int = 0
    scored_prompts: int = 0
    sets: dict[str, str] = field(default_factory=dict[str, str])
    units: int = 0
    units_missing: int = 0
    missing_values: dict[str, int] = field(default_factory=dict[str, int])
    runs: int = 0
    traits: list[TraitInfo] = field(default_factory=list[TraitInfo])
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    ignored: list[str] = field(default_factory=list[str])


@dataclass
class Parsed:
    logprobs: list[LogprobSource]
    prompts: dict[str, PromptInfo]
    pools: dict[str, list[str]]
    elicitation: ElicitationSource | None
    runs: dict[str, RunSource]
    traits: list[TraitInfo]


def write(
    parsed: Parsed,
    place: Path,
    summary: ImportSummary,
    identity: Mapping[str, object],
    provenance: Mapping[str, object],
) -> None:
    """Write everything parsed to a new store at `place` and complete the summary."""
    experiment = {"source": "import", "model": identity["model"]}
    with StoreWriter.open(
        place, identity=identity, experiment=experiment, provenance=provenance, traits=parsed.traits
    ) as writer:
        writer.put_prompts(list(parsed.prompts.values()))
        if parsed.pools:
            writer.put_rephrasings({k: parsed.pools[k] for k in parsed.prompts if k in parsed.pools})
        _write_logprobs(parsed, writer, summary)
        if parsed.elicitation:
            _write_elicitation(parsed.elicitation, list(parsed.prompts), writer, summary)
        for run in parsed.runs.values():
            _write_run(run, writer, summary)
    summary.prompts, summary.runs, summary.traits = len(parsed.prompts), len(parsed.runs), parsed.traits


def _write_logprobs(parsed: Parsed, writer: StoreWriter, summary: ImportSummary) -> None:
    values: dict[tuple[Level, Unit], np.ndarray] = {}
    for part in parsed.logprobs:
        for key, array in part.values.items():
            if key in values:
                raise BadInput(f"{key[1]} comes in two files; import one of them.")
            values[key] = array
    for name in sorted({u.completion_set for _, u in values}, key=_set_order):
        sources = [p.completions[name] for p in parsed.logprobs if name in p.completions]
        first = sources[0]
        if any(s.example_ids != first.example_ids for s in sources):
            raise BadInput(f"the files disagree about the examples of the set {name!r}.")
        rows = next((s.row_size for s in sources if s.row_size is not None), None)
        ids = next((s.token_ids for s in sources if s.token_ids is not None), None)
        writer.put_completions(
            name,
            example_ids=first.example_ids,
            row_size=None if rows is None else np.asarray(rows, np.int64),
            token_ids=None if ids is None else np.asarray(ids, np.int64),
            instructions=next((s.instructions for s in sources if s.instructions), None),
            completions=next((s.completions for s in sources if s.completions), None),
        )
        levels: tuple[Level, ...] = ("token", "example")
        for level in levels:
            units = [
                u for at, u in values if at == level and u.completion_set == name and u.prefix_type != "none"
            ]
            default = Unit.default(name)
            if (level, default) not in values:
                continue
            prompts = [k for k in parsed.prompts if any(u.prompt == k for u in units)]
            kinds = [k for k in PREFIX_TYPES if any(u.prefix_type == k for u in units)]
            picks = {u: p.rephrasing[u] for p in parsed.logprobs for u in units if u in p.rephrasing}
            planned = writer.plan(
                name, prefix_types=kinds, prompts=prompts, level=level, rephrasings=bool(picks)
            )
            for unit in [default, *units]:
                array = values[level, unit]
                chosen = np.asarray(picks[unit], np.int32) if unit in picks else None
                writer.put_unit(unit, array, chosen, level)
                label = f"{name}, {unit.prefix_type}, {level} level"
                summary.missing_values[label] = summary.missing_values.get(label, 0) + int(
                    np.isnan(array).sum()
                )
            summary.units += len(units) + 1
            absent = [u for u in planned if u not in units and u != default]
            summary.units_missing += len(absent)
            summary.notes += [
                f"{u.completion_set}/{u.prefix_type}/{u.prompt}: not in the files, left pending."
                for u in absent
            ]
            n, what = (
                (sum(rows or []), "tokens") if level == "token" else (len(first.example_ids), "examples")
            )
            summary.sets[f"{name}, {level} level"] = (
                f"{len(prompts)} prompts x {n} {what}, {' and '.join(kinds)}"
            )
            summary.scored_prompts = max(summary.scored_prompts, len(prompts))


def _set_order(name: str) -> tuple[int, str]:
    return (COMPLETION_SETS.index(name) if name in COMPLETION_SETS else len(COMPLETION_SETS), name)


def _write_elicitation(
    source: ElicitationSource, order: list[str], writer: StoreWriter, summary: ImportSummary
) -> None:
    prompts = [k for k in order if k in source.prompts]
    size = len(next(iter(source.scores.values()), next(iter((source.baseline or {}).values()), np.zeros(0))))
    nothing = np.full(size, np.nan)
    score = np.array([[source.scores.get((p, t), nothing) for p in prompts] for t in source.traits])
    baseline = np.array([(source.baseline or {}).get(t, nothing) for t in source.traits])
    writer.put_elicitation(
        prompts=prompts,
        traits=source.traits,
        instructions=[str(i) for i in range(size)],
        score=score,
        baseline=baseline,
        judges=[source.judges[t] for t in source.traits],
    )
    summary.missing_values["elicitation"] = int(np.isnan(score).sum() + np.isnan(baseline).sum())


def _write_run(run: RunSource, writer: StoreWriter, summary: ImportSummary) -> None:
    writer.put_run(
        RunPlan(
            run.name,
            prompt=run.prompt,
            prefix_type=run.prefix_type,
            traits=run.traits,
            instructions=[str(i) for i in range(run.size)],
            steps=run.steps,
            conditions=run.conditions,
            judges=run.judges,
            seed=run.seed,
            nominal_step=run.nominal_step,
            settings=run.settings,
        )
    )
    nothing = np.full(run.size, np.nan)
    for (step, condition), cells in run.cells.items():
        scores = np.array([cells.get(t, nothing) for t in run.traits])
        writer.put_scores(run.name, step, condition, scores)
        summary.missing_values["scores"] = summary.missing_values.get("scores", 0) + int(
            np.isnan(scores).sum()
        )
    if run.losses:
        updates, loss, rate = (np.asarray(column) for column in zip(*run.losses, strict=True))
        writer.append_losses(run.name, updates, loss, rate)
