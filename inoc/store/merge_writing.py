"""Writing the content of several stores to a new one."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from inoc.store.history import Entry
from inoc.store.merged import Merged
from inoc.store.probes import ProbePlan
from inoc.store.runs import RunInfo, RunPlan
from inoc.store.schema import LOGPROB_GROUP, PromptInfo
from inoc.store.tables import put_group, union
from inoc.store.writer import StoreWriter


def write_merged(merged: Merged, place: Path, provenance: Mapping[str, object], history: Sequence[Entry]) -> None:
    """Write everything to a new store, with this provenance and history."""
    with StoreWriter.open(
        place,
        identity=merged.identity,
        experiment=merged.experiment,
        provenance=provenance,
        traits=merged.traits,
        history=history,
    ) as writer:
        writer.put_prompts([cast(PromptInfo, row) for row in merged.prompts.values.values()])
        if merged.pools.values:
            writer.put_rephrasings({str(k[0]): cast("tuple[str, ...]", v) for k, v in merged.pools.values.items()})
        _write_units(merged, writer)
        _write_elicitation(merged, writer)
        for rows, put in ((merged.perplexity, _put_perplexity), (merged.embedded, _put_embeddings)):
            for key, columns in rows.values.items():
                put(writer, str(key[0]), dict(cast("tuple[tuple[str, np.ndarray], ...]", columns)))
        _write_runs(merged, writer)
        _write_probes(merged, writer)
        for (name,), found in merged.counts.values.items():
            columns, attributes = cast("tuple[tuple[tuple[str, np.ndarray], ...], dict[str, object]]", found)
            put_group(writer.store, f"emergence/{name}", dict(columns), attributes)


def _write_units(merged: Merged, writer: StoreWriter) -> None:
    for name in dict.fromkeys(name for name, _ in merged.completions.values):
        known = {c: cast(np.ndarray, v) for (n, c), v in merged.completions.values.items() if n == name}
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
    for level, unit, found in merged.units():
        picks = next((one.picks for one in found if one.known), None)
        writer.put_unit(unit, found[0].values, picks, level)


def _write_elicitation(merged: Merged, writer: StoreWriter) -> None:
    if ("trait",) not in merged.baseline.values:
        return
    columns = (cast(np.ndarray, merged.baseline.values[v,]) for v in ("trait", "instruction", "judge"))
    traits, instructions, judges = ([str(label) for label in column] for column in columns)
    sampling = merged.baseline.values["sampling",]
    shape = (len(traits), 0, len(instructions))
    rows = [cast("tuple[np.ndarray, np.ndarray]", row) for row in merged.elicited.values.values()]
    score, coverage = (np.stack([row[i] for row in rows], axis=1) if rows else np.empty(shape) for i in (0, 1))
    stored = any(store.has("elicitation/coverage") for store in merged.stores)
    writer.put_elicitation(
        prompts=[str(key[0]) for key in merged.elicited.values], traits=traits, instructions=instructions,
        score=score, coverage=coverage if stored else None, judges=judges,
        baseline=cast("np.ndarray | None", merged.baseline.values.get(("baseline",))),
        sampling=dict(cast("tuple[tuple[str, object], ...]", sampling)),
    )  # fmt: skip


def _write_runs(merged: Merged, writer: StoreWriter) -> None:
    for (name,), found in merged.runs.values.items():
        info, (conditions, traits, instructions, judges, questions, files, at_last), texts = cast(
            "tuple[RunInfo, tuple[tuple[str, ...], ...], bool]", found
        )
        steps = union(*(s.read(f"runs/{name}/step").tolist() for s in merged.stores if s.has(f"runs/{name}")))
        writer.put_run(
            RunPlan(
                str(name), info.prompt, info.prefix_type, info.seed, info.nominal_step,
                settings=info.settings, sampling=info.sampling,
                traits=traits, instructions=instructions, steps=steps, conditions=conditions,
                questions=questions, files=files, at_last=at_last,
                judges=dict(zip(traits, judges, strict=True)), generations=texts,
            )
        )  # fmt: skip
        losses = {k[1]: cast(np.ndarray, v) for k, v in merged.losses.values.items() if k[0] == name}
        if losses:
            table = np.array(list(losses.values()))
            writer.append_losses(str(name), np.array(list(losses), np.int64), table[:, 0], table[:, 1])
    for (name, step, condition), found in merged.evaluations.values.items():
        score, coverage, *texts = cast("tuple[np.ndarray, ...]", found)
        answers = [str(t) for t in texts[0]] if texts else None
        writer.put_scores(str(name), int(step), str(condition), score, coverage, generations=answers)
    for (name, step, condition, judged, judge), found in merged.judgments.values.items():
        value, coverage = cast("tuple[np.ndarray, np.ndarray]", found)
        writer.put_judgments(str(name), int(step), str(condition), str(judged), str(judge), value, coverage)


def _write_probes(merged: Merged, writer: StoreWriter) -> None:
    for (key,), found in merged.probes.values.items():
        columns, values, settings = cast(
            "tuple[tuple[tuple[str, np.ndarray], ...], tuple[str, ...], Mapping[str, object]]", found
        )
        where = f"probes/{key}"
        holders = [store for store in merged.stores if store.has(where)]
        kinds, keys = (union(*(store.labels(f"{where}/{v}") for store in holders)) for v in ("prefix_type", "prompt"))
        writer.plan_probe(ProbePlan(str(key), settings, dict(columns), values, kinds, keys))
        for (name, kind, prompt), cell in merged.probed.values.items():
            if name == key:
                parts = cast("tuple[np.ndarray, ...]", cell)
                writer.put_probe(str(key), str(kind), str(prompt), dict(zip(values, parts, strict=True)))


def _put_perplexity(writer: StoreWriter, key: str, columns: Mapping[str, np.ndarray]) -> None:
    writer.put_self_perplexity([key], columns["raw"][None], columns["context"][None])


def _put_embeddings(writer: StoreWriter, key: str, columns: Mapping[str, np.ndarray]) -> None:
    others = {name: value[None] for name, value in columns.items() if name != "prompt_vector"}
    writer.put_embeddings([key], columns["prompt_vector"][None], others)
