"""Parsed sources become a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.errors import BadInput
from inoc.store.imports.logprobs import CompletionSource, LogprobSource
from inoc.store.imports.outcomes import ElicitationSource, RunSource
from inoc.store.prefills import PrefillCounts
from inoc.store.progress import Progress
from inoc.store.runs import RunPlan
from inoc.store.schema import COMPLETION_SETS, PREFIX_TYPES, Level, PromptInfo, ScoreInfo, Unit, known_first
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
    prefill_runs: int = 0
    kept: int = 0
    """What the store that is added to held already, equal."""
    traits: list[ScoreInfo] = field(default_factory=list[ScoreInfo])
    notes: list[str] = field(default_factory=list[str])
    warnings: list[str] = field(default_factory=list[str])
    ignored: list[str] = field(default_factory=list[str])

    def count_missing(self, what: str, values: np.ndarray) -> None:
        """Add the NaN among some values."""
        self.missing_values[what] = self.missing_values.get(what, 0) + int(np.isnan(values).sum())


@dataclass
class Parsed:
    """Everything that the files say, checked."""

    logprobs: list[LogprobSource]
    prompts: dict[str, PromptInfo]
    pools: dict[str, list[str]]
    elicitation: ElicitationSource | None
    runs: dict[str, RunSource]
    traits: list[ScoreInfo]
    prefills: dict[str, PrefillCounts]
    plugins: dict[str, str] = field(default_factory=dict[str, str])
    """Packages other than inoc whose importers read files, with their versions."""


def write(
    parsed: Parsed,
    place: Path,
    summary: ImportSummary,
    identity: Mapping[str, object],
    provenance: Mapping[str, object],
    progress: Progress,
) -> None:
    """Write everything parsed to a new store at `place` and complete the summary."""
    experiment = {"source": "import", "model": identity["model"]}
    with StoreWriter.open(
        place,
        identity=identity,
        experiment=experiment,
        provenance=provenance,
        traits=parsed.traits,
        command="inoc import",
    ) as writer:
        writer.put_prompts(list(parsed.prompts.values()))
        if parsed.pools:
            writer.put_rephrasings({k: parsed.pools[k] for k in parsed.prompts if k in parsed.pools})
        progress.begin("write", sum(len(part.values) for part in parsed.logprobs) + len(parsed.runs))
        _write_logprobs(parsed, writer, summary, progress)
        if parsed.elicitation:
            _write_elicitation(parsed.elicitation, list(parsed.prompts), writer, summary)
        for run in parsed.runs.values():
            _write_run(run, writer, summary)
            progress.step(run.name)
        for name, counts in parsed.prefills.items():
            writer.put_prefill_counts(name, counts)
    summary.prompts, summary.runs, summary.traits = len(parsed.prompts), len(parsed.runs), parsed.traits
    summary.prefill_runs = len(parsed.prefills)


def _write_logprobs(parsed: Parsed, writer: StoreWriter, summary: ImportSummary, progress: Progress) -> None:
    values: dict[tuple[Level, Unit], np.ndarray] = {}
    for part in parsed.logprobs:
        for key, array in part.values.items():
            if key in values:
                both = [
                    f"{other.path} ({len(other.values[key])} values)"
                    for other in parsed.logprobs
                    if key in other.values
                ]
                raise BadInput(f"{'/'.join(key[1])} is in {' and in '.join(both[:2])}. Fix: import one of them.")
            values[key] = array
    for name in known_first((u.completion_set for _, u in values), COMPLETION_SETS):
        completions = _write_completions(parsed, name, writer)
        levels: tuple[Level, ...] = ("token", "example")
        for level in levels:
            units = {u: array for (at, u), array in values.items() if at == level and u.completion_set == name}
            if Unit.default(name) in units:
                _write_level(parsed, completions, level, units, writer, summary, progress)


def joined_completions(parts: Sequence[LogprobSource], name: str) -> CompletionSource:
    """What the files together say about a set; BadInput where they disagree about its examples."""
    sources = [part.completions[name] for part in parts if name in part.completions]
    for source in sources:
        if source.example_ids != sources[0].example_ids:
            files = [f"{part.path} has {len(found.example_ids)}" for part in parts
                     if (found := part.completions.get(name)) in (sources[0], source)]  # fmt: skip
            raise BadInput(
                f"the files disagree about the examples of the set {name!r}: {' and '.join(files)}. "
                "Fix: import them into stores of their own."
            )
    found = CompletionSource(name, sources[0].example_ids)
    for source in reversed(sources):
        found.row_size = source.row_size if source.row_size is not None else found.row_size
        found.token_ids = source.token_ids if source.token_ids is not None else found.token_ids
        found.instructions = source.instructions or found.instructions
        found.completions = source.completions or found.completions
    return found


def _write_completions(parsed: Parsed, name: str, writer: StoreWriter) -> CompletionSource:
    found = joined_completions(parsed.logprobs, name)
    writer.put_completions(
        name,
        example_ids=found.example_ids,
        row_size=None if found.row_size is None else np.asarray(found.row_size, np.int64),
        token_ids=None if found.token_ids is None else np.asarray(found.token_ids, np.int64),
        instructions=found.instructions,
        completions=found.completions,
    )
    return found


def _write_level(
    parsed: Parsed,
    completions: CompletionSource,
    level: Level,
    units: Mapping[Unit, np.ndarray],
    writer: StoreWriter,
    summary: ImportSummary,
    progress: Progress,
) -> None:
    name, default = completions.name, Unit.default(completions.name)
    prompts = [key for key in parsed.prompts if any(unit.prompt == key for unit in units)]
    kinds = [kind for kind in PREFIX_TYPES if any(unit.prefix_type == kind for unit in units)]
    picks = {unit: part.rephrasing[unit] for part in parsed.logprobs for unit in units if unit in part.rephrasing}
    planned = writer.plan(name, prefix_types=kinds, prompts=prompts, level=level, rephrasings=bool(picks))
    for unit in sorted(units, key=lambda unit: unit != default):
        chosen = np.asarray(picks[unit], np.int32) if unit in picks else None
        writer.put_unit(unit, units[unit], chosen, level)
        progress.step("/".join(unit))
        summary.count_missing(f"{name}, {unit.prefix_type}, {level} level", units[unit])
    absent = [unit for unit in planned if unit not in units]
    summary.units += len(units)
    summary.units_missing += len(absent)
    summary.notes += [f"{'/'.join(unit)}: not in the files, left pending." for unit in absent]
    n, what = len(completions.example_ids), "examples"
    if level == "token":
        n, what = sum(completions.row_size or []), "tokens"
    summary.sets[f"{name}, {level} level"] = f"{len(prompts)} prompts x {n} {what}, {' and '.join(kinds)}"
    summary.scored_prompts = max(summary.scored_prompts, len(prompts))


def _write_elicitation(
    source: ElicitationSource, order: list[str], writer: StoreWriter, summary: ImportSummary
) -> None:
    prompts = [k for k in order if k in source.prompts]
    rows = [source.table(source.scores[prompt]) for prompt in prompts]
    score = np.stack(rows, axis=1) if rows else np.full((len(source.traits), 0, source.size), np.nan)
    baseline = source.table(source.baseline)
    writer.put_elicitation(
        prompts=prompts,
        traits=source.traits,
        instructions=[str(i) for i in range(source.size)],
        score=score,
        baseline=baseline,
        judges=[source.judges[t] for t in source.traits],
    )
    summary.missing_values["elicitation"] = int(np.isnan(score).sum() + np.isnan(baseline).sum())


def _write_run(run: RunSource, writer: StoreWriter, summary: ImportSummary) -> None:
    plan = RunPlan(
        run.name,
        run.prompt,
        run.prefix_type,
        run.seed,
        run.nominal_step,
        run.settings,
        traits=run.traits,
        instructions=[str(i) for i in range(run.size)],
        steps=run.steps,
        conditions=run.conditions,
        judges=run.judges,
    )
    writer.put_run(plan)
    for (step, condition), cells in run.cells.items():
        scores = run.table(cells)
        writer.put_scores(run.name, step, condition, scores)
        summary.count_missing("scores", scores)
    if run.losses:
        updates, loss, rate = (np.asarray(column) for column in zip(*run.losses, strict=True))
        writer.append_losses(run.name, updates, loss, rate)
