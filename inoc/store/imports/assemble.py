"""From parsed files to a store: everything is read and checked first, then written beside the target, then renamed."""

import platform
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import numpy as np

from inoc._version import __version__
from inoc.errors import BadInput
from inoc.store.files import without_flushing
from inoc.store.fingerprint import (
    completions_fingerprint,
    file_fingerprint,
    prompts_fingerprint,
    texts_fingerprint,
)
from inoc.store.imports.logprobs import LogprobSource, read_logprobs
from inoc.store.imports.outcomes import (
    ElicitationSource,
    RunSource,
    read_elicitation,
    read_losses,
    read_prompts,
    read_rephrasings,
    read_scores,
)
from inoc.store.imports.traits import match_traits
from inoc.store.lock import Lock
from inoc.store.schema import COMPLETION_SETS, PREFIX_TYPES, Level, PromptInfo, TraitInfo, Unit
from inoc.store.writer import RunWriter


@dataclass
class Sources:
    """The files to import and what the user says about them."""

    logprobs: Sequence[Path]
    prompts: Path | None = None
    rephrasings: Path | None = None
    elicitation: Path | None = None
    scores: Path | None = None
    losses: Path | None = None
    traits: Sequence[str] = ()
    """`ROLE=NAME` or `ROLE=NAME:FAMILY`."""
    baseline: str | None = None
    nominal_step: int | None = None

    def files(self) -> list[Path]:
        named = (self.prompts, self.elicitation, self.scores, self.losses)
        return [*self.logprobs, *(p for p in named if p is not None)]


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
class _Parsed:
    logprobs: list[LogprobSource]
    prompts: dict[str, PromptInfo]
    pools: dict[str, list[str]]
    elicitation: ElicitationSource | None
    runs: dict[str, RunSource]
    traits: list[TraitInfo]


def import_run(sources: Sources, store: Path, *, overwrite: bool = False) -> ImportSummary:
    """Make a run store from files.

    Raises:
        BadInput: a file is bad (the message says where) or the store exists; nothing is written then.
    """
    if store.exists() and not overwrite:
        raise BadInput(f"{store} exists already; choose another --store or give --overwrite.")
    if store.exists() and not (store / "zarr.json").is_file():
        raise BadInput(f"{store} exists and is not a run store; it is left alone.")
    summary = ImportSummary(str(store))
    parsed = _parse(sources, summary)
    try:
        store.parent.mkdir(parents=True, exist_ok=True)
        lock = Lock(store)
    except OSError as error:
        raise BadInput(
            f"{store} cannot be written ({error.strerror}); choose another place with --store."
        ) from error
    part = store.with_name(f".{store.name}.importing")
    with lock:
        shutil.rmtree(part, ignore_errors=True)
        try:
            with without_flushing():
                _write(parsed, sources, part, summary)
            if store.exists():
                old = store.with_name(f".{store.name}.replaced")
                shutil.rmtree(old, ignore_errors=True)
                store.rename(old)
                part.rename(store)
                shutil.rmtree(old)
            else:
                part.rename(store)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    return summary


def _parse(sources: Sources, summary: ImportSummary) -> _Parsed:
    if not sources.files():
        raise BadInput("nothing to import: name at least one file.")
    prompts = read_prompts(sources.prompts) if sources.prompts else {}
    given = bool(prompts)
    pools = read_rephrasings(sources.rephrasings) if sources.rephrasings else {}
    parts = [read_logprobs(path) for path in sources.logprobs]
    for path, part in zip(sources.logprobs, parts, strict=True):
        for key, text in part.prompts.items():
            _join_prompt(prompts, key, text, str(path), summary, given)
        summary.warnings += part.warnings
        summary.ignored += part.ignored
    elicitation = (
        read_elicitation(sources.elicitation, sources.baseline, prompts) if sources.elicitation else None
    )
    if elicitation:
        for key, text in elicitation.prompts.items():
            _join_prompt(prompts, key, text, str(sources.elicitation), summary, given)
        summary.warnings += elicitation.warnings
    by_text = {p.text: p.key for p in reversed(list(prompts.values())) if p.text}
    runs = read_scores(sources.scores, by_text, summary.warnings) if sources.scores else {}
    for run in runs.values():
        if run.prompt:
            _join_prompt(prompts, run.prompt, run.text, str(sources.scores), summary, given)
    for name, rows in (read_losses(sources.losses) if sources.losses else {}).items():
        if name not in runs:
            raise BadInput(
                f"{sources.losses}: run {name!r} is not among the scored runs; import its scores too."
            )
        runs[name].losses = rows
    for key in pools:
        if key not in prompts:
            raise BadInput(f"{sources.rephrasings}/{key}.jsonl: no prompt has the key {key!r}.")
    _set_nominal_steps(runs, sources.nominal_step, summary)
    mentioned = list(
        dict.fromkeys(
            [*(elicitation.traits if elicitation else []), *(t for r in runs.values() for t in r.traits)]
        )
    )
    traits = match_traits(mentioned, list(prompts.values()), sources.traits)
    unknown = [p.key for p in prompts.values() if p.role == "unknown"]
    if unknown:
        summary.notes.append(
            f"{len(unknown)} of {len(prompts)} prompts have no role or family (--prompts says them); "
            "heuristics that need the trait of a prompt will be absent."
        )
    summary.ignored = list(dict.fromkeys(summary.ignored))
    return _Parsed(parts, prompts, pools, elicitation, runs, traits)


def _join_prompt(
    prompts: dict[str, PromptInfo], key: str, text: str, where: str, summary: ImportSummary, given: bool
) -> None:
    known = prompts.get(key)
    if known is None:
        prompts[key] = PromptInfo(key, text)
        if given:
            summary.notes.append(
                f"{where}: prompt {key!r} is not in --prompts; its family and role are unknown."
            )
    elif not known.text:
        prompts[key] = known._replace(text=text)
    elif text and known.text != text:
        raise BadInput(f"{where}: prompt {key!r} has the text {text!r}, elsewhere it is {known.text!r}.")


def _set_nominal_steps(runs: Mapping[str, RunSource], given: int | None, summary: ImportSummary) -> None:
    """The nominal final step: as given, as the file says, or the last but one where the last comes one update later."""
    inferred: set[int] = set()
    for run in runs.values():
        steps = run.steps
        if given is not None:
            run.nominal_step = given
        elif run.nominal_step < 0 and len(steps) > 1 and steps[-1] == steps[-2] + 1:
            run.nominal_step = steps[-2]
            inferred.add(steps[-2])
        elif run.nominal_step < 0 and steps:
            run.nominal_step = steps[-1]
    for step in sorted(inferred):
        summary.notes.append(
            f"nominal final step {step}: step {step + 1}, one update later, counts as a second look at the end "
            "(--nominal-step says otherwise)."
        )


def _identity(parsed: _Parsed) -> dict[str, object]:
    sets = {
        name: completions_fingerprint(
            c.example_ids,
            None if c.row_size is None else np.asarray(c.row_size),
            None if c.token_ids is None else np.asarray(c.token_ids),
            c.completions,
        )
        for part in parsed.logprobs
        for name, c in part.completions.items()
    }
    params = [part.params for part in parsed.logprobs]
    return {
        "source": "import",
        "model": next((p["model"] for p in params if "model" in p), "unknown"),
        "completions": sets,
        "prompts": prompts_fingerprint({k: p.text for k, p in parsed.prompts.items()}),
        "rephrasings": {k: texts_fingerprint(v) for k, v in parsed.pools.items()},
    }


def _provenance(parsed: _Parsed, sources: Sources, summary: ImportSummary) -> dict[str, object]:
    return {
        "inoc": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "zarr")},
        "files": {path.name: file_fingerprint(path) for path in sources.files()},
        "params": [part.params for part in parsed.logprobs],
        "notes": summary.notes,
        "warnings": summary.warnings,
        "ignored": summary.ignored,
    }


def _write(parsed: _Parsed, sources: Sources, place: Path, summary: ImportSummary) -> None:
    identity = _identity(parsed)
    experiment = {"source": "import", "model": identity["model"]}
    with RunWriter.open(
        place,
        identity=identity,
        experiment=experiment,
        provenance=_provenance(parsed, sources, summary),
        traits=parsed.traits,
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


def _write_logprobs(parsed: _Parsed, writer: RunWriter, summary: ImportSummary) -> None:
    values = {}
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
            default = Unit(name, "none", "")
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
    source: ElicitationSource, order: list[str], writer: RunWriter, summary: ImportSummary
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


def _write_run(run: RunSource, writer: RunWriter, summary: ImportSummary) -> None:
    writer.put_run(
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
