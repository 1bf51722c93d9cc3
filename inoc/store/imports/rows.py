"""What importers give, row by row, and how rows become arrays: every check of them is here."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np

from inoc.errors import BadInput
from inoc.store.imports.logprobs import CompletionSource, LogprobSource, same_length
from inoc.store.imports.outcomes import RunSource
from inoc.store.imports.reading import Node, Numbers
from inoc.store.schema import PREFIX_TYPES, UNKNOWN, Level, Unit

KINDS = ("none", *PREFIX_TYPES)


@dataclass(frozen=True)
class LogprobRow:
    """The base model's logprobs of one completion, without a prompt or with one.

    Attributes:
        example_id: Of the example; the same completion has the same id in every row.
        logprobs: One for each token, nats; NaN is missing. One number where only the `mean` over tokens is known. What
            a JSON file holds may stay as it is: it is checked where the row is added.
        prompt: Key of the inoculation prompt; "" without one.
        prefix_type: "none" without a prompt, else "fixed" or "mix".
        token_ids: Of the completion; None where unknown.
        mean: Whether `logprobs` is the mean over tokens.
        completion_set: "train", "control", "positive" or "negative".
        text: Of the prompt; "" where unknown.
        instruction: What the completion answers.
        completion: Its text.
        rephrasing: Place in the prompt's pool of the rephrasing that was used.
        where: File and line, for errors.
    """

    example_id: str
    logprobs: Sequence[float | int] | Node
    prompt: str = ""
    prefix_type: str = "none"
    token_ids: Sequence[int] | None = None
    mean: bool = False
    completion_set: str = "train"
    text: str = ""
    instruction: str | None = None
    completion: str | None = None
    rephrasing: int | None = None
    where: str = "a row"


@dataclass(frozen=True)
class ScoreRow:
    """The score of one answer of a trained model.

    Attributes:
        run: Name of the run.
        question: Id of what was asked.
        score: Name of the score.
        value: 0-100; NaN is missing.
        prompt: Key of the run's inoculation prompt; "" for the control run.
        prefix_type: "none" for the control run, else "fixed" or "mix".
        step: Update of the checkpoint.
        condition: "default", "training" or the name of a probe.
        judge: What gave the score.
        seed: Of the training; -1 where unknown.
        text: Of the prompt; "" where unknown.
        where: File and line, for errors.
    """

    run: str
    question: str
    score: str
    value: float | int
    prompt: str = ""
    prefix_type: str = "none"
    step: int = 0
    condition: str = "default"
    judge: str = UNKNOWN
    seed: int = -1
    text: str = ""
    where: str = "a row"


Item = LogprobRow | ScoreRow | LogprobSource | str
"""What an importer gives: rows; arrays that are read already; a sentence about what it leaves out."""


@runtime_checkable
class Importer(Protocol):
    """Reads files of one format; what an entry point of the group "inoc.importers" names is a class of these.

    The class is made without arguments. A dataclass whose fields have defaults has them as options
    (`inoc import --option NAME=VALUE`).
    """

    def sniff(self, paths: Sequence[Path]) -> bool:
        """Whether all these files look like its format; reads their first bytes at most and raises nothing."""
        ...

    def read(self, paths: Sequence[Path]) -> Iterable[Item]:
        """Everything the files say.

        Raises:
            BadInput: A file is wrong; the message says where.
        """
        ...


@dataclass
class _Set:
    """Rows of one completion set, by example and unit."""

    tokens: dict[str, tuple[str, int, list[int] | None]] = field(
        default_factory=dict[str, tuple[str, int, list[int] | None]]
    )
    """Where an example came first, its number of tokens (-1 where only means are known), its token ids."""
    values: dict[tuple[Level, Unit], dict[str, Numbers]] = field(
        default_factory=dict[tuple[Level, Unit], dict[str, Numbers]]
    )
    texts: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    picks: dict[Unit, dict[str, int]] = field(default_factory=dict[Unit, dict[str, int]])


class Gathered:
    """Rows of one file as they come; `finish` makes arrays of them."""

    def __init__(self, path: Path) -> None:
        self.source = LogprobSource(path)
        self.runs: dict[str, RunSource] = {}
        self._sets: dict[str, _Set] = {}
        self._scores: dict[tuple[str, int, str, str], dict[str, float]] = {}
        self._questions: dict[str, None] = {}

    def add(self, row: LogprobRow | ScoreRow) -> None:
        """Take one row; BadInput where it is wrong, or contradicts an earlier one."""
        if row.prefix_type not in KINDS:
            raise BadInput(f"{row.where}: prefix_type {row.prefix_type!r}. Fix: write {', '.join(KINDS)}.")
        if row.prefix_type != "none" and not row.prompt:
            raise BadInput(f"{row.where}: a row with prefix_type {row.prefix_type!r} has no prompt. Fix: add its key.")
        if row.prefix_type != "none":
            self.source.prompts[row.prompt] = self.source.prompts.get(row.prompt) or row.text
        if isinstance(row, ScoreRow):
            self._add_score(row)
        else:
            self._add_logprobs(row)

    def _add_logprobs(self, row: LogprobRow) -> None:
        unit = Unit(row.completion_set, row.prefix_type, row.prompt if row.prefix_type != "none" else "")
        level: Level = "example" if row.mean else "token"
        given = row.logprobs
        values = (given if isinstance(given, Node) else Node(list(given), f"{row.where}: logprobs")).logprobs()
        ids = None if row.token_ids is None else [int(token) for token in row.token_ids]
        n = 1 if row.mean else len(values) if ids is None else len(ids)
        same_length(len(values), n, f"{row.where}: logprobs", "values")
        held, example = self._sets.setdefault(unit.completion_set, _Set()), row.example_id
        first, size, known = held.tokens.setdefault(example, (row.where, -1 if row.mean else n, ids))
        if (size, known) != (-1 if row.mean else n, ids):
            raise BadInput(
                f"{row.where}: token_ids of example {example!r} differ from those at {first}. "
                "Fix: give different completions different ids."
            )
        if example in held.values.setdefault((level, unit), {}):
            raise BadInput(
                f"{row.where}: a second row for prompt {row.prompt!r}, prefix type {row.prefix_type!r}, "
                f"example {example!r}. Fix: keep one of them."
            )
        held.values[level, unit][example] = values
        for name, text in (("instruction", row.instruction), ("completion", row.completion)):
            before = held.texts.setdefault(name, {}).setdefault(example, text or "") if text is not None else text
            if name == "completion" and before != text:
                raise BadInput(
                    f"{row.where}: the completion of example {example!r} differs from that at {first}; logprobs of "
                    "different texts are not compared. Fix: give different completions different ids."
                )
        if row.rephrasing is not None:
            held.picks.setdefault(unit, {})[example] = row.rephrasing

    def _add_score(self, row: ScoreRow) -> None:
        value = Node([row.value], f"{row.where}: value").numbers(0.0, 100.0)[0]
        run = self.runs.setdefault(
            row.run,
            RunSource(name=row.run, prompt=row.prompt, prefix_type=row.prefix_type, text=row.text, seed=row.seed,
                      path=self.source.path),
        )  # fmt: skip
        if (run.prompt, run.prefix_type, run.seed) != (row.prompt, row.prefix_type, row.seed):
            raise BadInput(f"{row.where}: run {row.run!r} has another prompt, prefix type or seed than before. "
                           "Fix: give each run a name of its own.")  # fmt: skip
        if run.judges.setdefault(row.score, row.judge) != row.judge:
            raise BadInput(f"{row.where}: judge {row.judge!r}, but {run.judges[row.score]!r} before. "
                           "Fix: import the scores of each judge into a store of their own.")  # fmt: skip
        cell = self._scores.setdefault((row.run, row.step, row.condition, row.score), {})
        if row.question in cell:
            raise BadInput(f"{row.where}: a second {row.score} of question {row.question!r}. Fix: keep one of them.")
        cell[row.question] = float(value)
        self._questions.setdefault(row.question)

    @property
    def any(self) -> bool:
        """Whether a row was added."""
        return bool(self._sets or self._scores)

    def finish(self) -> None:
        """Make the arrays; what a unit or an evaluation lacks is missing data and is warned of. BadInput without a row,
        or where a set has none without a prompt."""
        if not self.any:
            raise BadInput(f"{self.source.path} has no rows. Fix: name files with results.")
        for name, held in self._sets.items():
            self._finish_set(name, held)
        for (name, step, condition, score), cell in self._scores.items():
            run = self.runs[name]
            absent = len(self._questions) - len(cell)
            if absent:
                self.source.warnings.append(
                    f"{self.source.path}: run {name}, step {step}, {condition}: {score} lacks {absent} of "
                    f"{len(self._questions)} questions; kept as missing."
                )
            run.cells.setdefault((step, condition), {})[score] = np.array(
                [cell.get(question, math.nan) for question in self._questions]
            )
            run.size, run.where = len(self._questions), str(self.source.path)
            run.traits = list(dict.fromkeys([*run.traits, score]))

    def _finish_set(self, name: str, held: _Set) -> None:
        path, source = self.source.path, self.source
        if not {("token", Unit.default(name)), ("example", Unit.default(name))} & set(held.values):
            raise BadInput(f"{path}: the set {name!r} has no baseline rows. Fix: add rows with prefix_type 'none'.")
        sizes = {example: max(size, 0) for example, (_, size, _) in held.tokens.items()}
        ids = [known for _, _, known in held.tokens.values()]
        source.completions[name] = CompletionSource(
            name,
            list(sizes),
            None if any(size < 0 for _, size, _ in held.tokens.values()) else list(sizes.values()),
            None if None in ids else [token for known in ids for token in known or ()],
            *([held.texts[what].get(example, "") for example in sizes] if what in held.texts else None
              for what in ("instruction", "completion")),
        )  # fmt: skip
        for (level, unit), by_example in held.values.items():
            absent = [example for example in sizes if example not in by_example]
            if absent:
                source.warnings.append(
                    f"{path}: {name}/{unit.prefix_type}/{unit.prompt or 'default'} lacks {len(absent)} of "
                    f"{len(sizes)} examples (first {absent[0]!r}); kept as missing."
                )
            gaps = {example: np.full(size if level == "token" else 1, math.nan) for example, size in sizes.items()}
            source.values[level, unit] = np.concatenate([np.zeros(0), *({**gaps, **by_example}[e] for e in sizes)])
            if unit in held.picks:
                source.rephrasing[unit] = [held.picks[unit].get(example, -1) for example in sizes]
