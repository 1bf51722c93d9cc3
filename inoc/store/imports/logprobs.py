"""Log-probabilities of other pipelines: two JSON layouts (example means, token lists; one file may hold both) and
JSONL rows. All give a `LogprobSource`; nothing is written here."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadInput
from inoc.store.imports.reading import (
    Json,
    as_int,
    as_list,
    as_object,
    as_text,
    load_json,
    load_jsonl,
    logprobs,
    number_or_nan,
)
from inoc.store.schema import PREFIX_TYPES, Level, Unit

SETS = {"train": "train", "ctrl": "control", "control": "control", "pos": "positive", "positive": "positive",
        "neg": "negative", "negative": "negative"}  # fmt: skip
KINDS = {"default": "none", "inoc": "fixed", "fixed": "fixed", "mix": "mix"}
_KEY = re.compile(rf"lp_({'|'.join(SETS)})_({'|'.join(KINDS)})(_tokens)?")
_TEXTS = re.compile(rf"({'|'.join(SETS)})_(completions|instructions)")
_SCALARS = {"perplexity_heuristic", "pointwise_perplexity_drift", "n_train", "n_control"}

Values = Float64[np.ndarray, " value"]


@dataclass
class CompletionSource:
    """What a file says about one completion set."""

    example_ids: list[str]
    row_size: list[int] | None = None
    token_ids: list[int] | None = None
    instructions: list[str] | None = None
    completions: list[str] | None = None


@dataclass
class LogprobSource:
    """Parsed log-probabilities: values by level and unit, prompts in order of appearance, and what was odd."""

    values: dict[tuple[Level, Unit], Values] = field(default_factory=dict[tuple[Level, Unit], Values])
    completions: dict[str, CompletionSource] = field(default_factory=dict[str, CompletionSource])
    prompts: dict[str, str] = field(default_factory=dict[str, str])
    rephrasing: dict[Unit, list[int]] = field(default_factory=dict[Unit, list[int]])
    params: dict[str, object] = field(default_factory=dict[str, object])
    warnings: list[str] = field(default_factory=list[str])
    ignored: list[str] = field(default_factory=list[str])


def read_logprobs(path: Path) -> LogprobSource:
    """Read a file by its name: `.jsonl` is rows, all else one JSON object."""
    return read_jsonl(path) if path.suffix == ".jsonl" else read_json(path)


def read_json(path: Path) -> LogprobSource:
    """Layout: `params`, `baseline.lp_<set>_default[_tokens]`, `prompts.<key>.lp_<set>_inoc|mix[_tokens]`.

    Every key but one baseline array is optional. Keys of other names are listed as ignored.
    """
    top = load_json(path)
    if "baseline" not in top or "prompts" not in top:
        missing = "baseline" if "baseline" not in top else "prompts"
        raise BadInput(f"{path}: no key {missing!r}; a logprob file has 'baseline' and 'prompts'.")
    source = LogprobSource(params=dict(as_object(top.get("params", {}), f"{path}: params")))
    source.ignored += [f"{path.name}: {key}" for key in top if key not in ("params", "baseline", "prompts")]
    _read_baseline(source, as_object(top["baseline"], f"{path}: baseline"), path)
    names = source.params.pop("prompts", {})
    texts = cast(Mapping[str, object], names if isinstance(names, dict) else {})
    for key, value in as_object(top["prompts"], f"{path}: prompts").items():
        _read_prompt(source, key, as_object(value, f"{path}: prompts.{key}"), texts.get(key), path)
    return source


def _read_values(source: LogprobSource, value: object, unit: Unit, tokens: bool, where: str) -> None:
    """One array, whose lengths must be those of the set."""
    name = unit.completion_set
    if tokens:
        rows = [logprobs(row, f"{where}[{i}]") for i, row in enumerate(as_list(value, where))]
        sizes = [len(row) for row in rows]
        known = source.completions.setdefault(
            name, CompletionSource([str(i) for i in range(len(rows))], sizes)
        )
        if known.row_size is None:
            known.row_size = sizes
        _same_length(len(rows), len(known.example_ids), where, "lists")
        for i, (n, expected) in enumerate(zip(sizes, known.row_size, strict=True)):
            _same_length(n, expected, f"{where}[{i}]", "token values")
        source.values["token", unit] = np.concatenate([np.zeros(0), *rows])
    else:
        values = logprobs(value, where)
        known = source.completions.setdefault(name, CompletionSource([str(i) for i in range(len(values))]))
        _same_length(len(values), len(known.example_ids), where, "values")
        source.values["example", unit] = values


def _same_length(n: int, expected: int, where: str, what: str) -> None:
    if n != expected:
        raise BadInput(f"{where} has {n} {what}; {expected} are needed.")


def _read_baseline(source: LogprobSource, baseline: Json, path: Path) -> None:
    for key, value in baseline.items():
        where = f"{path}: baseline.{key}"
        match, texts = _KEY.fullmatch(key), _TEXTS.fullmatch(key)
        if match and KINDS[match[2]] == "none":
            _read_values(source, value, Unit.default(SETS[match[1]]), bool(match[3]), where)
        elif not texts:
            source.ignored.append(f"{path.name}: baseline.{key}")
    if not source.values:
        raise BadInput(f"{path}: baseline holds no array named lp_<set>_default or lp_<set>_default_tokens.")
    for key, value in baseline.items():
        if texts := _TEXTS.fullmatch(key):
            where, name = f"{path}: baseline.{key}", SETS[texts[1]]
            rows = [as_text(row, f"{where}[{i}]") for i, row in enumerate(as_list(value, where))]
            if name not in source.completions:
                source.ignored.append(f"{path.name}: baseline.{key} (no log-probabilities of that set)")
                continue
            _same_length(len(rows), len(source.completions[name].example_ids), where, "texts")
            setattr(source.completions[name], texts[2], rows)


def _read_prompt(source: LogprobSource, key: str, entry: Json, listed: object, path: Path) -> None:
    where = f"{path}: prompts.{key}"
    text = entry.get("prompt", listed)
    source.prompts[key] = "" if text is None else as_text(text, f"{where}.prompt")
    if isinstance(listed, str) and listed != source.prompts[key]:
        source.warnings.append(f"{where}: its text differs from params.prompts.{key}.")
    for name, value in entry.items():
        match = _KEY.fullmatch(name)
        if match and KINDS[match[2]] != "none":
            unit = Unit(SETS[match[1]], KINDS[match[2]], key)
            level: Level = "token" if match[3] else "example"
            if (level, Unit.default(unit.completion_set)) not in source.values:
                raise BadInput(
                    f"{where}.{name}: the baseline has no lp_{match[1]}_default{match[3] or ''} to compare it with."
                )
            _read_values(source, value, unit, bool(match[3]), f"{where}.{name}")
        elif name != "prompt" and name not in _SCALARS:
            source.ignored.append(f"{path.name}: prompts.*.{name}")
    _check_scalars(source, key, entry, where)


def example_values(source: LogprobSource, unit: Unit) -> Values | None:
    """Per-example means of a unit, from whichever level is there; None if neither is."""
    if ("example", unit) in source.values:
        return source.values["example", unit]
    tokens, rows = source.values.get(("token", unit)), source.completions[unit.completion_set].row_size
    if tokens is None or rows is None:
        return None
    parts = np.split(tokens, np.cumsum(rows)[:-1])
    return np.array([part.mean() if part.size else np.nan for part in parts])


def _check_scalars(source: LogprobSource, key: str, entry: Json, where: str) -> None:
    """Stored scalars against the arrays they summarise."""
    for name, completion_set, absolute in (
        ("perplexity_heuristic", "train", False),
        ("pointwise_perplexity_drift", "control", True),
    ):
        if name not in entry or completion_set not in source.completions:
            continue
        fixed = example_values(source, Unit(completion_set, "fixed", key))
        default = example_values(source, Unit.default(completion_set))
        if fixed is None or default is None:
            continue
        difference = (np.abs(fixed - default) if absolute else fixed - default)[np.isfinite(fixed - default)]
        stored = number_or_nan(entry[name], f"{where}.{name}")
        found = float(difference.mean()) if difference.size else float("nan")
        compare(source.warnings, f"{where}.{name}", stored, found)
    for name, completion_set in (("n_train", "train"), ("n_control", "control")):
        if name in entry and completion_set in source.completions:
            n = as_int(entry[name], f"{where}.{name}")
            if n != len(source.completions[completion_set].example_ids):
                source.warnings.append(
                    f"{where}.{name} says {n}, its arrays hold {len(source.completions[completion_set].example_ids)}."
                )


def compare(warnings: list[str], where: str, stored: float, found: float) -> None:
    """Note a stored scalar that contradicts its arrays by more than 1e-6 (relative, absolute below 1)."""
    if np.isnan(stored) and np.isnan(found):
        return
    if not abs(stored - found) <= 1e-6 * max(1.0, abs(found)):
        warnings.append(f"{where} says {stored:.9g}, its own arrays give {found:.9g}; the arrays are used.")


_ROW_KEYS = {"prompt", "prefix_type", "example_id", "token_ids", "logprobs", "completion_set", "instruction",
             "completion", "rephrasing", "text"}  # fmt: skip


def read_jsonl(path: Path) -> LogprobSource:
    """One row per (prompt, prefix type, example): {prompt, prefix_type, example_id, token_ids, logprobs}.

    Rows of the baseline have prefix_type "none". Optional: completion_set (default "train"), instruction, completion,
    rephrasing (index into the pool), text (of the prompt). Token ids of an example must be the same in every row.
    """
    source = LogprobSource()
    rows: dict[Unit, dict[str, Values]] = {}
    examples: dict[str, dict[str, tuple[str, list[int]]]] = {}
    texts: dict[tuple[str, str], dict[str, str]] = {}
    picks: dict[Unit, dict[str, int]] = {}
    for where, row in load_jsonl(path):
        for name in ("prefix_type", "example_id", "token_ids", "logprobs"):
            if name not in row:
                raise BadInput(f"{where}: no key {name!r}.")
        kind = as_text(row["prefix_type"], f"{where}: prefix_type")
        if kind not in ("none", *PREFIX_TYPES):
            raise BadInput(f"{where}: prefix_type {kind!r} is none of none, {', '.join(PREFIX_TYPES)}.")
        key = as_text(row.get("prompt") or "", f"{where}: prompt") if kind != "none" else ""
        if kind != "none" and not key:
            raise BadInput(f"{where}: a row with prefix_type {kind!r} needs a prompt.")
        name = as_text(row.get("completion_set", "train"), f"{where}: completion_set")
        unit, example = Unit(name, kind, key), str(row["example_id"])
        ids = [as_int(t, f"{where}: token_ids[{i}]") for i, t in enumerate(as_list(row["token_ids"], where))]
        first, known = examples.setdefault(name, {}).setdefault(example, (where, ids))
        if known != ids:
            raise BadInput(f"{where}: token_ids of example {example!r} differ from those at {first}.")
        values = logprobs(row["logprobs"], f"{where}: logprobs")
        _same_length(len(values), len(ids), f"{where}: logprobs", "values")
        if example in rows.setdefault(unit, {}):
            raise BadInput(
                f"{where}: a second row for prompt {key!r}, prefix type {kind!r}, example {example!r}."
            )
        rows[unit][example] = values
        if key:
            source.prompts.setdefault(key, as_text(row.get("text", ""), f"{where}: text"))
        for field_name in ("instruction", "completion"):
            if field_name in row:
                texts.setdefault((name, field_name), {})[example] = as_text(
                    row[field_name], f"{where}: {field_name}"
                )
        if row.get("rephrasing") is not None:
            picks.setdefault(unit, {})[example] = as_int(row["rephrasing"], f"{where}: rephrasing")
        source.ignored += [f"{path.name}: {extra}" for extra in row if extra not in _ROW_KEYS]
    if not rows:
        raise BadInput(f"{path} holds no rows.")
    _collect(source, path, rows, examples, texts, picks)
    return source


def _collect(
    source: LogprobSource,
    path: Path,
    rows: Mapping[Unit, Mapping[str, Values]],
    examples: Mapping[str, Mapping[str, tuple[str, list[int]]]],
    texts: Mapping[tuple[str, str], Mapping[str, str]],
    picks: Mapping[Unit, Mapping[str, int]],
) -> None:
    """Rows by example become one array per unit; an example a unit lacks is missing data."""
    for name, members in examples.items():
        if Unit.default(name) not in rows:
            raise BadInput(f"{path}: the set {name!r} has no baseline rows (prefix_type 'none').")
        source.completions[name] = CompletionSource(
            list(members),
            [len(ids) for _, ids in members.values()],
            [t for _, ids in members.values() for t in ids],
            *(
                [given.get(e, "") for e in members] if (given := texts.get((name, f))) else None
                for f in ("instruction", "completion")
            ),
        )
    for unit, by_example in rows.items():
        members = examples[unit.completion_set]
        absent = [e for e in members if e not in by_example]
        if absent:
            source.warnings.append(
                f"{path}: {unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'} lacks {len(absent)} of "
                f"{len(members)} examples (first {absent[0]!r}); kept as missing."
            )
        parts = [by_example.get(e, np.full(len(ids), np.nan)) for e, (_, ids) in members.items()]
        source.values["token", unit] = np.concatenate([np.zeros(0), *parts])
        if unit in picks:
            source.rephrasing[unit] = [picks[unit].get(e, -1) for e in members]
