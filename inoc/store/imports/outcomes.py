"""Prompts, rephrasing pools, elicitation, scores and losses of other pipelines, parsed and checked."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from jaxtyping import Float64

from inoc.errors import BadInput
from inoc.store.imports.logprobs import compare
from inoc.store.imports.reading import Node, Numbers, load_json, load_jsonl
from inoc.store.schema import CONDITIONS, ROLES, UNKNOWN, PromptInfo, known_first


def read_prompts(path: Path) -> dict[str, PromptInfo]:
    """{key: {text, group, family, role}} in the order of the file."""
    prompts: dict[str, PromptInfo] = {}
    for key, entry in load_json(path).items():
        given = {name: entry[name].text() for name in PromptInfo._fields[2:] if name in entry}
        prompts[key] = PromptInfo(key, entry["text"].text(), **given)
        if prompts[key].role not in ROLES:
            raise BadInput(f"{entry.where}.role is {prompts[key].role!r}. Fix: write one of {', '.join(ROLES[:3])}.")
    return prompts


def read_rephrasings(folder: Path) -> dict[str, list[str]]:
    """`<prompt>.jsonl` with one {"rephrasing": text} per line, for every prompt that has a pool."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder. Fix: name the folder of <prompt key>.jsonl files.")
    pools = {
        file.stem: [row.get("rephrasing").text() for row in load_jsonl(file)] for file in sorted(folder.glob("*.jsonl"))
    }
    if not pools:
        raise BadInput(f"{folder} has no .jsonl files. Fix: name the folder of <prompt key>.jsonl files.")
    return pools


@dataclass
class ScoreSource:
    """Scores 0-100 by instruction as a file gives them: one judge per trait, one length for all (`size`, 0 before the
    first scores, as in the values at `where`). `traits` are in order of appearance."""

    traits: list[str] = field(default_factory=list[str])
    judges: dict[str, str] = field(default_factory=dict[str, str])
    size: int = 0
    where: str = ""

    def read(self, entry: Node, cells: Node, warnings: list[str]) -> dict[str, Numbers]:
        """{trait: {values, mean, n_nan}}; null is missing, the scalars are checked against the values.

        The optional key `judge` of a cell or else of the `entry` is one name, or one by trait.
        """
        found: dict[str, Numbers] = {}
        for trait, cell in cells.items():
            values = found[trait] = cell["values"].numbers(low=0.0, high=100.0)
            if self.size not in (0, len(values)):
                raise BadInput(
                    f"{cell.where}.values has {len(values)} values; {self.size} are needed, as in {self.where}. "
                    "Fix: give every score the same instructions."
                )
            self.size, self.where = len(values), self.where or f"{cell.where}.values"
            missing = int(np.isnan(values).sum())
            if "mean" in cell:
                compare(warnings, cell["mean"], values)
            if "n_nan" in cell and cell["n_nan"].integer() != missing:
                warnings.append(f"{cell.where}.n_nan says {cell['n_nan'].value}, its values lack {missing}.")
            judge = (cell if "judge" in cell else entry).get("judge", UNKNOWN)
            name = (judge.get(trait, UNKNOWN) if isinstance(judge.value, dict) else judge).text()
            if self.judges.setdefault(trait, name) != name:
                raise BadInput(
                    f"{cell.where}: judge {name!r}, but {self.judges[trait]!r} before. "
                    "Fix: import the scores of each judge into a store of their own."
                )
            if trait not in self.traits:
                self.traits.append(trait)
        return found

    def table(self, cells: Mapping[str, Numbers]) -> Float64[np.ndarray, "trait instruction"]:
        """[trait, instruction]; NaN for a trait without scores."""
        return np.array([cells.get(trait, np.full(self.size, np.nan)) for trait in self.traits])


@dataclass
class ElicitationSource(ScoreSource):
    """Scores of the base model by prompt and trait; `baseline` by trait."""

    scores: dict[str, dict[str, Numbers]] = field(default_factory=dict[str, dict[str, Numbers]])
    prompts: dict[str, str] = field(default_factory=dict[str, str])
    baseline: dict[str, Numbers] = field(default_factory=dict[str, Numbers])
    warnings: list[str] = field(default_factory=list[str])


def read_elicitation(path: Path, baseline: str | None, known: Mapping[str, PromptInfo]) -> ElicitationSource:
    """{prompt key: {prompt, n, scores: {trait: {mean, values}}}}.

    The baseline (no inoculation prompt) is the entry `baseline`, else "neutral" where that is not a prompt's key.
    """
    top = load_json(path)
    if baseline is not None and baseline not in top:
        raise BadInput(f"{path} has no entry {baseline!r} to serve as baseline. Fix: name one of its keys.")
    base = baseline or ("neutral" if "neutral" in top and "neutral" not in known else None)
    source = ElicitationSource()
    for key, entry in top.items():
        cells = source.read(entry, entry.get("scores"), source.warnings)
        if key == base:
            source.baseline = cells
        if cells and (key != base or key in known):
            source.scores[key] = cells
            source.prompts[key] = entry.get("prompt", "").text()
    if base is None:
        source.warnings.append(
            f"{path}: no entry without inoculation prompt ('neutral'), so elicitation has no baseline; "
            "--baseline names one."
        )
    return source


@dataclass
class RunSource(ScoreSource):
    """One run's evaluations: scores by (step, condition) and trait."""

    path: Path = Path()
    name: str = ""
    prompt: str = ""
    prefix_type: str = "none"
    text: str = ""
    settings: dict[str, object] = field(default_factory=dict[str, object])
    seed: int = -1
    nominal_step: int = -1
    cells: dict[tuple[int, str], dict[str, Numbers]] = field(default_factory=dict[tuple[int, str], dict[str, Numbers]])
    losses: list[tuple[int, float, float]] = field(default_factory=list[tuple[int, float, float]])

    @property
    def steps(self) -> list[int]:
        return sorted({step for step, _ in self.cells})

    @property
    def conditions(self) -> tuple[str, ...]:
        return known_first((condition for _, condition in self.cells), CONDITIONS)


def read_scores(path: Path, by_text: Mapping[str, str], warnings: list[str]) -> dict[str, RunSource]:
    """{run: {type, user_prefix | rephrasings_key, lr, judge?, steps: {step: {condition: {trait: {values, ...}}}}}}.

    `by_text` maps the text of a prompt to its key. The fields say what a run is, its name only where they do not.
    """
    runs: dict[str, RunSource] = {}
    for name, entry in load_json(path).items():
        run = runs[name] = _describe(name, entry, by_text)
        run.path = path
        steps = entry.get("steps")
        for step, conditions in steps.items():
            number = Node(step, f"{steps.where}: step").integer()
            for condition, cells in conditions.items():
                found = run.read(entry, cells, warnings)
                if found:
                    run.cells.setdefault((number, condition), {}).update(found)
    return runs


_RUN_KEYS = {"type", "lr", "steps", "user_prefix", "rephrasings_key", "judge", "seed", "nominal_step"}


def _describe(name: str, entry: Node, by_text: Mapping[str, str]) -> RunSource:
    kind = entry.get("type", "mix" if "rephrasings_key" in entry else "fixed").text()
    if kind not in ("none", "fixed", "mix"):
        raise BadInput(f"{entry.where}.type is {kind!r}. Fix: write one of none, fixed, mix.")
    prefix = entry.get("user_prefix", "")
    text = "" if prefix.value is None else prefix.text()
    if kind == "mix":
        prompt = entry.get("rephrasings_key", name.removesuffix("_mix")).text()
    elif not text and ("user_prefix" in entry or name == "no_inoculation"):
        prompt, kind = "", "none"
    else:
        prompt = by_text.get(text, name)
    settings = {k: v for k, v in entry.fields.items() if k not in _RUN_KEYS}
    if "lr" in entry:
        settings["learning_rate"] = entry["lr"].number()
    seed, nominal_step = (entry.get(key, -1).integer() for key in ("seed", "nominal_step"))
    return RunSource(
        name=name, prompt=prompt, prefix_type=kind, text=text, settings=settings, seed=seed, nominal_step=nominal_step
    )  # fmt: skip


def read_losses(path: Path) -> dict[str, list[tuple[int, float, float]]]:
    """{run: [{step, loss, learning_rate}, ...]} -> (update, loss, learning rate) in order."""
    return {
        name: [(row["step"].integer(), row["loss"].number(), row.get("learning_rate").number()) for row in rows.rows()]
        for name, rows in load_json(path).items()
    }
