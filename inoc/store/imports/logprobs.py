"""Log-probabilities of other pipelines: two JSON layouts, example means and token lists; one file may hold both.
They give a `LogprobSource`; nothing is written here."""

import re
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from inoc.errors import BadInput
from inoc.store.imports.reading import Node, Numbers, load_number_json
from inoc.store.schema import Level, Unit

SETS = {"train": "train", "ctrl": "control", "control": "control", "pos": "positive", "positive": "positive",
        "neg": "negative", "negative": "negative"}  # fmt: skip
KINDS = {"default": "none", "inoc": "fixed", "fixed": "fixed", "mix": "mix"}
_KEY = re.compile(rf"lp_(\w+?)_({'|'.join(KINDS)})(_tokens)?")
_TEXTS = re.compile(r"(\w+)_(completions|instructions)")
_BASELINE = "baseline_"
_SCALARS = {"perplexity_heuristic", "pointwise_perplexity_drift", "n_train", "n_control"}


@dataclass
class CompletionSource:
    """What a file says about one completion set."""

    name: str
    example_ids: list[str]
    row_size: list[int] | None = None
    token_ids: list[int] | None = None
    instructions: list[str] | None = None
    completions: list[str] | None = None


@dataclass
class LogprobSource:
    """Parsed log-probabilities: values by level and unit, prompts in order of appearance, and what was odd."""

    path: Path
    values: dict[tuple[Level, Unit], Numbers] = field(default_factory=dict[tuple[Level, Unit], Numbers])
    completions: dict[str, CompletionSource] = field(default_factory=dict[str, CompletionSource])
    prompts: dict[str, str] = field(default_factory=dict[str, str])
    rephrasing: dict[Unit, list[int]] = field(default_factory=dict[Unit, list[int]])
    params: dict[str, object] = field(default_factory=dict[str, object])
    warnings: list[str] = field(default_factory=list[str])
    ignored: list[str] = field(default_factory=list[str])


def read_json(path: Path) -> LogprobSource:
    """Layout: `params`, `baseline.lp_<set>_default[_tokens]`, `prompts.<key>.lp_<set>_inoc|mix[_tokens]`.

    A set may also be named by a trait (`lp_french_inoc`); its baseline may then be a part of its own,
    `baseline_french.lp_default`. Every key but one baseline array is optional. Other keys are listed as ignored.
    """
    top = load_number_json(path)
    baseline, prompts = top["baseline"], top["prompts"]
    source = LogprobSource(path, params={key: node.plain() for key, node in top.get("params", {}).items()})
    for key, node in top.items():
        if key.startswith(_BASELINE):
            _read_set(source, key.removeprefix(_BASELINE), node, path.name)
        elif key not in ("params", "baseline", "prompts"):
            source.ignored.append(f"{path.name}: {key}")
    _read_baseline(source, baseline, path.name)
    listed = Node(source.params.pop("prompts", {}), f"{path}: params.prompts")
    texts = listed if isinstance(listed.value, dict) else Node({}, listed.where)
    for key, entry in prompts.items():
        _read_prompt(source, key, entry, texts, path.name)
    return source


def _read_values(source: LogprobSource, node: Node, unit: Unit, tokens: bool) -> None:
    """One array, whose lengths must be those of the set."""
    values, sizes = node.logprob_lists() if tokens else (node.logprobs(), list[int]())
    n = len(sizes) if tokens else len(values)
    name = unit.completion_set
    known = source.completions.setdefault(name, CompletionSource(name, [str(i) for i in range(n)]))
    same_length(n, len(known.example_ids), node.where, "lists" if tokens else "values")
    if tokens:
        known.row_size = known.row_size or sizes
        for i, (size, expected) in enumerate(zip(sizes, known.row_size, strict=True)):
            if size != expected:
                same_length(size, expected, f"{node.where}[{i}]", "token values")
    source.values["token" if tokens else "example", unit] = values


def same_length(n: int, expected: int, where: str, what: str) -> None:
    if n != expected:
        raise BadInput(f"{where} has {n} {what}; {expected} are needed.")


def _set(name: str) -> str:
    """The completion set a key names: one of inoc's, or that of a trait."""
    return SETS.get(name, name)


def _read_set(source: LogprobSource, name: str, baseline: Node, file: str) -> None:
    """The baseline of one set by itself: a list, or an object with `lp_default` and texts."""
    if isinstance(baseline.value, list | np.ndarray):
        _read_values(source, baseline, Unit.default(_set(name)), False)
        return
    for key, node in baseline.items():
        if key in ("lp_default", "lp_default_tokens", f"lp_{name}_default", f"lp_{name}_default_tokens"):
            _read_values(source, node, Unit.default(_set(name)), key.endswith("_tokens"))
        elif key not in ("completions", "instructions"):
            source.ignored.append(f"{file}: {_BASELINE}{name}.{key}")
    known = source.completions.get(_set(name))
    for key in ("completions", "instructions"):
        if known is not None and key in baseline:
            rows = [row.text() for row in baseline[key].rows()]
            same_length(len(rows), len(known.example_ids), baseline[key].where, "texts")
            setattr(known, key, rows)


def _read_baseline(source: LogprobSource, baseline: Node, file: str) -> None:
    for key, node in baseline.items():
        match = _KEY.fullmatch(key)
        if match and KINDS[match[2]] == "none":
            _read_values(source, node, Unit.default(_set(match[1])), bool(match[3]))
        elif not _TEXTS.fullmatch(key):
            source.ignored.append(f"{file}: baseline.{key}")
    if not source.values:
        raise BadInput(
            f"{baseline.where} has no log-probabilities. "
            "Fix: add an array named lp_<set>_default or lp_<set>_default_tokens."
        )
    for key, node in baseline.items():
        if texts := _TEXTS.fullmatch(key):
            rows = [row.text() for row in node.rows()]
            known = source.completions.get(_set(texts[1]))
            if known is None:
                source.ignored.append(f"{file}: baseline.{key} (no log-probabilities of that set)")
                continue
            same_length(len(rows), len(known.example_ids), node.where, "texts")
            setattr(known, texts[2], rows)


def _read_prompt(source: LogprobSource, key: str, entry: Node, listed: Node, file: str) -> None:
    text = entry["prompt"] if "prompt" in entry else listed.get(key)
    source.prompts[key] = "" if text.value is None else text.text()
    also = listed.get(key).value
    if isinstance(also, str) and also != source.prompts[key]:
        source.warnings.append(f"{entry.where}: its text differs from params.prompts.{key}.")
    for name, node in entry.items():
        match = _KEY.fullmatch(name)
        if match and KINDS[match[2]] != "none":
            unit = Unit(_set(match[1]), KINDS[match[2]], key)
            level: Level = "token" if match[3] else "example"
            if (level, Unit.default(unit.completion_set)) not in source.values:
                raise BadInput(
                    f"{node.where} has nothing to be compared with. "
                    f"Fix: add lp_{match[1]}_default{match[3] or ''} to the baseline."
                )
            _read_values(source, node, unit, bool(match[3]))
        elif name != "prompt" and name not in _SCALARS:
            source.ignored.append(f"{file}: prompts.*.{name}")
    _check_scalars(source, key, entry)


def _example_values(source: LogprobSource, unit: Unit) -> Numbers | None:
    """Per-example means of a unit, from the level that has it; None if neither does."""
    if ("example", unit) in source.values:
        return source.values["example", unit]
    tokens, rows = source.values.get(("token", unit)), source.completions[unit.completion_set].row_size
    if tokens is None or rows is None:
        return None
    parts = np.split(tokens, np.cumsum(rows)[:-1])
    return np.array([part.mean() if part.size else np.nan for part in parts])


def _check_scalars(source: LogprobSource, key: str, entry: Node) -> None:
    """Stored scalars against the arrays they summarize."""
    for name, completion_set, absolute in (
        ("perplexity_heuristic", "train", False),
        ("pointwise_perplexity_drift", "control", True),
    ):
        if name not in entry or completion_set not in source.completions:
            continue
        fixed = _example_values(source, Unit(completion_set, "fixed", key))
        default = _example_values(source, Unit.default(completion_set))
        if fixed is None or default is None:
            continue
        difference = np.abs(fixed - default) if absolute else fixed - default
        compare(source.warnings, entry[name], difference)
    for name, completion_set in (("n_train", "train"), ("n_control", "control")):
        if name in entry and completion_set in source.completions:
            said, n = entry[name].integer(), len(source.completions[completion_set].example_ids)
            if said != n:
                source.warnings.append(f"{entry[name].where} says {said}, its arrays hold {n}.")


def compare(warnings: list[str], node: Node, values: Numbers) -> None:
    """Note a stored mean that contradicts the finite values by more than 1e-6 (relative, absolute below 1)."""
    finite = values[np.isfinite(values)]
    stored, found = node.number(), float(finite.mean()) if finite.size else float("nan")
    if np.isnan(stored) and np.isnan(found):
        return
    if not abs(stored - found) <= 1e-6 * max(1.0, abs(found)):
        warnings.append(f"{node.where} says {stored:.9g}, its own arrays give {found:.9g}; the arrays are used.")
