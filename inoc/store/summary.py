"""What a run store holds and what is missing, as plain values."""

import os
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.store.arrays import StoredArray
from inoc.store.opening import steady
from inoc.store.run import Run
from inoc.store.schema import LOGPROB_GROUP, PENDING, Level, TraitInfo


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
    traits: list[TraitInfo]
    sets: list[SetSummary] = field(default_factory=list[SetSummary])
    runs: list[RunSummary] = field(default_factory=list[RunSummary])
    elicitation: dict[str, int] | None = None
    rephrasings: dict[str, int] = field(default_factory=dict[str, int])
    self_perplexity: int = 0
    embeddings: int = 0
    experiment: dict[str, object] = field(default_factory=dict[str, object])
    identity: dict[str, object] = field(default_factory=dict[str, object])
    provenance: dict[str, object] = field(default_factory=dict[str, object])


def summarise(run: Run) -> StoreSummary:
    """Count what is there, what is pending and what is missing; reads every value once, a row at a time."""
    return steady(run.path, lambda: _summarise(run))


def _size_on_disk(path: Path) -> int:
    total = 0
    for directory, _, names in os.walk(path):
        for name in names:
            try:
                total += (Path(directory) / name).stat().st_size
            except FileNotFoundError:
                continue  # a writer is moving it
    return total


def _summarise(run: Run) -> StoreSummary:
    roles = [str(r) for r in run.read("prompts/role")] if run.has("prompts") else []
    summary = StoreSummary(
        store=str(run.path),
        schema_version=run.schema_version,
        complete=run.complete,
        bytes_on_disk=_size_on_disk(run.path),
        prompts={role: roles.count(role) for role in dict.fromkeys(roles)},
        traits=list(run.traits),
        rephrasings={key: len(pool) for key, pool in run.rephrasings.items()},
        experiment=dict(run.experiment),
        identity=dict(run.identity),
        provenance=dict(run.provenance),
    )
    for level, group in LOGPROB_GROUP.items():
        summary.sets += [_set(run, name, level) for name in run.completion_sets if run.has(f"{group}/{name}")]
    summary.runs = [_run(run, name) for name in run.subgroups("runs")]
    if run.has("elicitation"):
        score, baseline = run.read("elicitation/score"), run.read("elicitation/baseline")
        summary.elicitation = {
            "prompts": score.shape[1],
            "instructions": score.shape[2],
            "missing": int(np.isnan(score).sum() + np.isnan(baseline).sum()),
        }
    for name in ("self_perplexity", "embeddings"):
        if run.has(name):
            setattr(summary, name, run.shape(f"{name}/prompt")[0])
    return summary


def _set(run: Run, name: str, level: Level) -> SetSummary:
    where = f"{LOGPROB_GROUP[level]}/{name}"
    default_done, done = run.markers(level, name)
    prefixed = StoredArray(run.path, f"{where}/prefixed", done)
    missing = sum(int(np.isnan(prefixed[f, p]).sum()) for f, p in np.argwhere(done))
    if default_done:
        missing += int(np.isnan(StoredArray(run.path, f"{where}/default")[...]).sum())
    return SetSummary(
        completion_set=name,
        level=level,
        prompts=done.shape[1],
        prefix_types=tuple(str(k) for k in run.read(f"{where}/prefix_type")),
        examples=run.shape(f"{where}/example")[0],
        tokens=prefixed.shape[-1] if level == "token" else None,
        units_done=int(done.sum()) + default_done,
        units_pending=int((~done).sum()) + (not default_done),
        missing=missing,
    )


def _run(run: Run, name: str) -> RunSummary:
    where, about = f"runs/{name}", run.attributes(f"runs/{name}")
    done = run.read(f"{where}/unit_crc") != PENDING
    score = StoredArray(run.path, f"{where}/score", done)[...]
    judges = zip(run.read(f"{where}/trait"), run.read(f"{where}/judge"), strict=True)
    return RunSummary(
        name=name,
        prompt=str(about["prompt"]),
        prefix_type=str(about["prefix_type"]),
        seed=int(str(about["seed"])),
        steps=[int(s) for s in run.read(f"{where}/step")],
        conditions=[str(c) for c in run.read(f"{where}/condition")],
        evaluations_done=int(done.sum()),
        evaluations_pending=int((~done).sum()),
        missing=int(np.isnan(score[done]).sum()),
        judges={str(t): str(j) for t, j in judges},
        updates=run.shape(f"{where}/update")[0],
    )
