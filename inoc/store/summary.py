"""What a store has and what is missing, as plain values."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.store.history import Entry
from inoc.store.opening import steady
from inoc.store.reader import Reader
from inoc.store.schema import LOGPROB_GROUP, PENDING, Level, ScoreInfo


@dataclass
class SetSummary:
    """One completion set at one level."""

    completion_set: str
    level: Level
    prompts: int
    prefix_types: tuple[str, ...]
    examples: int
    tokens: int | None
    """None where only example means are stored."""
    units_done: int
    units_pending: int
    missing: int
    """NaN among the values of units that are done."""


@dataclass
class RunSummary:
    """One fine-tuning."""

    name: str
    prompt: str
    prefix_type: str
    seed: int
    steps: list[int]
    conditions: list[str]
    evaluations_done: int
    evaluations_pending: int
    missing: int
    judges: dict[str, str]
    updates: int


@dataclass
class StoreSummary:
    """Everything `inoc info` shows."""

    store: str
    schema_version: int
    complete: bool
    bytes_on_disk: int
    prompts: dict[str, int]
    """Number of prompts by role."""
    traits: list[ScoreInfo]
    sets: list[SetSummary] = field(default_factory=list[SetSummary])
    runs: list[RunSummary] = field(default_factory=list[RunSummary])
    elicitation: dict[str, int] | None = None
    rephrasings: dict[str, int] = field(default_factory=dict[str, int])
    probes: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Units that are done, and all that are planned, by probe."""
    self_perplexity: int = 0
    embeddings: int = 0
    experiment: dict[str, object] = field(default_factory=dict[str, object])
    identity: dict[str, object] = field(default_factory=dict[str, object])
    provenance: dict[str, object] = field(default_factory=dict[str, object])
    history: list[Entry] = field(default_factory=list[Entry])


def summarize(store: Reader) -> StoreSummary:
    """Count what is there, what is pending and what is missing; reads every value once, a row at a time."""
    return steady(store.path, lambda: _summarize(store))


def _size_on_disk(path: Path) -> int:
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(directory) / name).stat().st_size
            except FileNotFoundError:
                continue  # a writer is moving it
    return total


def _summarize(store: Reader) -> StoreSummary:
    roles = store.labels("prompts/role") if store.has("prompts") else ()
    summary = StoreSummary(
        store=str(store.path),
        schema_version=store.schema_version,
        complete=store.complete,
        bytes_on_disk=_size_on_disk(store.path),
        prompts={role: roles.count(role) for role in dict.fromkeys(roles)},
        traits=list(store.traits),
        rephrasings={key: len(pool) for key, pool in store.rephrasings.items()},
        experiment=dict(store.experiment),
        identity=dict(store.identity),
        provenance=dict(store.provenance),
        history=store.history,
    )
    for level, group in LOGPROB_GROUP.items():
        summary.sets += [_set(store, name, level) for name in store.completion_sets if store.has(f"{group}/{name}")]
    summary.runs = [_run(store, name) for name in store.subgroups("runs")]
    if store.has("elicitation"):
        score, baseline = store.read("elicitation/score"), store.read("elicitation/baseline")
        summary.elicitation = {
            "prompts": score.shape[1],
            "instructions": score.shape[2],
            "missing": int(np.isnan(score).sum() + np.isnan(baseline).sum()),
        }
    for name in store.subgroups("probes"):
        marks = store.marks(f"probes/{name}", "unit_crc")
        summary.probes[name] = [int((marks != PENDING).sum()), marks.size]
    for name in ("self_perplexity", "embeddings"):
        if store.has(name):
            setattr(summary, name, store.shape(f"{name}/prompt")[0])
    return summary


def _set(store: Reader, name: str, level: Level) -> SetSummary:
    where = f"{LOGPROB_GROUP[level]}/{name}"
    default_done, done = store.markers(level, name)
    prefixed = store.array(f"{where}/prefixed")
    missing = sum(int(np.isnan(prefixed[f, p]).sum()) for f, p in np.argwhere(done))
    if default_done:
        missing += int(np.isnan(store.array(f"{where}/default")[...]).sum())
    return SetSummary(
        completion_set=name,
        level=level,
        prompts=done.shape[1],
        prefix_types=store.labels(f"{where}/prefix_type"),
        examples=store.shape(f"{where}/example")[0],
        tokens=prefixed.shape[-1] if level == "token" else None,
        units_done=int(done.sum()) + default_done,
        units_pending=int((~done).sum()) + (not default_done),
        missing=missing,
    )


def _run(store: Reader, name: str) -> RunSummary:
    where, run = f"runs/{name}", store.run(name)
    done = store.read(f"{where}/unit_crc") != PENDING
    score = store.read(f"{where}/score")
    judges = zip(store.labels(f"{where}/trait"), store.labels(f"{where}/judge"), strict=True)
    return RunSummary(
        name=name,
        prompt=run.prompt,
        prefix_type=run.prefix_type,
        seed=run.seed,
        steps=store.read(f"{where}/step").tolist(),
        conditions=list(store.labels(f"{where}/condition")),
        evaluations_done=int(done.sum()),
        evaluations_pending=int((~done & store.planned(name)).sum()),
        missing=int(np.isnan(score[done]).sum()),
        judges=dict(judges),
        updates=store.shape(f"{where}/update")[0],
    )
