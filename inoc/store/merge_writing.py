"""Writing the content of several stores to a new one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from inoc.store.history import Entry
from inoc.store.merged import Merged
from inoc.store.probes import ProbePlan
from inoc.store.progress import Progress
from inoc.store.schema import LOGPROB_GROUP
from inoc.store.tables import put_group, union
from inoc.store.writer import StoreWriter


def write_merged(
    merged: Merged, place: Path, provenance: Mapping[str, object], history: Sequence[Entry], progress: Progress
) -> None:
    """Write everything to a new store, with this provenance and history."""
    with StoreWriter.open(
        place,
        identity=merged.identity,
        experiment=merged.experiment,
        provenance=provenance,
        traits=merged.traits,
        history=history,
    ) as writer:
        writer.put_prompts(list(merged.prompts.values.values()))
        if merged.pools.values:
            writer.put_rephrasings({str(key): pool for (key,), pool in merged.pools.values.items()})
        _write_units(merged, writer, progress)
        _write_elicitation(merged, writer)
        for (key,), found in merged.perplexity.values.items():
            writer.put_self_perplexity([str(key)], found["raw"][None], found["context"][None])
        for (key,), found in merged.embedded.values.items():
            others = {name: value[None] for name, value in found.items() if name != "prompt_vector"}
            writer.put_embeddings([str(key)], found["prompt_vector"][None], others)
        _write_runs(merged, writer)
        _write_probes(merged, writer)
        for (name,), (columns, attributes) in merged.counts.values.items():
            put_group(writer.store, f"emergence/{name}", columns, attributes)


def _write_units(merged: Merged, writer: StoreWriter, progress: Progress) -> None:
    for name in dict.fromkeys(name for name, _ in merged.completions.values):
        known = {column: v for (n, column), v in merged.completions.values.items() if n == name}
        texts = {c: [str(t) for t in known[c]] for c in ("example_id", "instruction", "completion") if c in known}
        writer.put_completions(
            str(name), example_ids=texts["example_id"], row_size=known.get("row_size"),
            token_ids=known.get("token_id"), instructions=texts.get("instruction"),
            completions=texts.get("completion"),
        )  # fmt: skip
    for level, group in LOGPROB_GROUP.items():
        for name in union(*(store.subgroups(group) for store in merged.stores)):
            where = f"{group}/{name}"
            holders = [store for store in merged.stores if store.has(where)]
            kinds, keys = (
                union(*(store.labels(f"{where}/{v}") for store in holders)) for v in ("prefix_type", "prompt")
            )
            picks = any(store.has(f"{where}/rephrasing") for store in holders)
            writer.plan(name, prefix_types=kinds, prompts=keys, level=level, rephrasings=picks)
    for level, unit, found in merged.units(progress, "units to write"):
        picks = next((one.picks for one in found if one.known), None)
        writer.put_unit(unit, found[0].values, picks, level)


def _write_elicitation(merged: Merged, writer: StoreWriter) -> None:
    if ("trait",) not in merged.baseline.values:
        return
    traits, instructions, judges = (
        [str(label) for label in merged.baseline.values[v,]] for v in ("trait", "instruction", "judge")
    )
    shape = (len(traits), 0, len(instructions))
    rows = list(merged.elicited.values.values())
    score, coverage = (np.stack([row[i] for row in rows], axis=1) if rows else np.empty(shape) for i in (0, 1))
    stored = any(store.has("elicitation/coverage") for store in merged.stores)
    writer.put_elicitation(
        prompts=[str(key[0]) for key in merged.elicited.values], traits=traits, instructions=instructions,
        score=score, coverage=coverage if stored else None, judges=judges,
        baseline=merged.baseline.values.get(("baseline",)), sampling=merged.sampling.values["sampling",],
    )  # fmt: skip


def _write_runs(merged: Merged, writer: StoreWriter) -> None:
    for (name,), plan in merged.runs.values.items():
        steps = union(*(s.read(f"runs/{name}/step").tolist() for s in merged.stores if s.has(f"runs/{name}")))
        writer.put_run(replace(plan, steps=steps))
        losses = {key[1]: row for key, row in merged.losses.values.items() if key[0] == name}
        if losses:
            table = np.array(list(losses.values()))
            writer.append_losses(str(name), np.array(list(losses), np.int64), table[:, 0], table[:, 1])
    for (name, step, condition), (score, coverage, *texts) in merged.evaluations.values.items():
        answers = [str(text) for text in texts[0]] if texts else None
        writer.put_scores(str(name), int(step), str(condition), score, coverage, generations=answers)
    for (name, step, condition, judged, judge), (value, coverage) in merged.judgments.values.items():
        writer.put_judgments(str(name), int(step), str(condition), str(judged), str(judge), value, coverage)


def _write_probes(merged: Merged, writer: StoreWriter) -> None:
    for (key,), (settings, columns, values) in merged.probes.values.items():
        where = f"probes/{key}"
        holders = [store for store in merged.stores if store.has(where)]
        kinds, keys = (union(*(store.labels(f"{where}/{v}") for store in holders)) for v in ("prefix_type", "prompt"))
        writer.plan_probe(ProbePlan(str(key), settings, columns, values, kinds, keys))
        for (name, kind, prompt), parts in merged.probed.values.items():
            if name == key:
                writer.put_probe(str(key), str(kind), str(prompt), dict(zip(values, parts, strict=True)))
