"""What the checkpoints of a run are asked: the held-out instructions under every condition, then judged."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from inoc.backends.protocols import CheckpointQuestions
from inoc.chat import rephrasing_index
from inoc.errors import BadInput
from inoc.experiment import Run
from inoc.hashing import content_hash
from inoc.plan.study import Study
from inoc.plan.texts import Question, Texts, make_texts, sample_requests
from inoc.store.runs import RunPlan
from inoc.store.schema import CONDITIONS


class Cell(NamedTuple):
    """One evaluation: the checkpoint of an update asked under one condition.

    Attributes:
        step: The update; 0 is the base model.
        condition: The name of the condition.
        texts: What it is asked.
        hash: The content hash of the questions and the judges.
    """

    step: int
    condition: str
    texts: Texts
    hash: str


@dataclass(frozen=True)
class Evaluated:
    """The evaluations of a fine-tuning.

    Attributes:
        stored: Labels and settings as the store keeps them, without the backend that trains the run.
        cells: Every (step, condition), step by step; the probes at the last step only.
    """

    stored: RunPlan
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """The name in the store."""
        return self.stored.name

    def trained_with(self, trainer: Mapping[str, object]) -> RunPlan:
        """The same labels and settings, for a run that this backend trains."""
        return replace(self.stored, settings={**self.stored.settings, "trained_with": dict(trainer)})


def plan_evaluation(study: Study, run: Run, updates: int) -> Evaluated:
    """The evaluations of a run.

    Args:
        study: What to compile.
        run: The fine-tuning.
        updates: How many updates it has.

    Returns:
        Its labels as the store keeps them, and every step and condition.

    Raises:
        BadInput: Something is wrong with the questions, the steps asked for, the pools or the judges.
    """
    source, evaluation = _prefixed(study, run), study.evaluation
    pool = study.pools([source.prompt], source.rephrasings)[source.prompt] if source.prefix_type == "mix" else ()
    settings = {**run.settings.model_dump(mode="json"), "data": run.data_settings, "start": run.start}
    if run.rephrasings:
        settings["rephrasings"] = run.rephrasings
    if run.merge:
        settings["merge"] = True
    probes = tuple(evaluation.probe_keys())
    stored = RunPlan(
        run.name,
        prompt=run.prompt,
        prefix_type=run.prefix_type,
        seed=run.seed,
        nominal_step=updates,
        settings=settings,
        sampling=study.sampling_settings,
        traits=study.judges.scores,
        instructions=[label for label, _ in study.answers],
        questions=[question.label for _, question in study.answers],
        files=[question.file for _, question in study.answers],
        steps=_steps(study, run, updates),
        conditions=(*evaluation.conditions, *probes),
        at_last=probes,
        judges=study.judges.identities(),
        generations=True,
    )
    asked = {c: _texts(study, c, _prefixes(study, source, c, pool)) for c in stored.conditions}
    cells = [
        Cell(step, condition, _kept(texts, run.name, step), content_hash(texts.hash, step, dict(stored.judges)))
        for step in stored.steps
        for condition, texts in asked.items()
        if condition not in probes or step == updates
    ]
    return Evaluated(stored, tuple(cells))


def texts_of_step(evaluated: Evaluated, step: int) -> tuple[Texts, ...]:
    """Everything the checkpoint of an update is asked."""
    return tuple(cell.texts for cell in evaluated.cells if cell.step == step)


def checkpoint_questions(study: Study, evaluated: Evaluated) -> tuple[CheckpointQuestions, ...]:
    """The questions for a backend that asks them where it trains; those of the base model are not among them."""
    sampling = study.evaluation_sampling
    steps = dict.fromkeys(cell.step for cell in evaluated.cells if cell.step > 0)
    return tuple(
        CheckpointQuestions(
            step, sample_requests(study.chat, study.backend.context_length, texts_of_step(evaluated, step)), sampling
        )
        for step in steps
    )


def _steps(study: Study, run: Run, updates: int) -> tuple[int, ...]:
    """The kept checkpoints and the last update, or the steps asked for. A run that continues another has no step 0:
    that is the last step of the other, evaluated there."""
    first = 0 if run.start is None else 1
    kept = sorted({step for step in (*run.settings.checkpoints, updates) if step >= first})
    asked = study.evaluation.steps
    if asked == "all":
        return tuple(kept)
    if asked == "last":
        return (updates,)
    lost = [step for step in asked if step not in kept and step != 0]
    if lost:
        raise BadInput(
            f"evaluation.steps asks for step {lost[0]}, but run {run.name} keeps checkpoints of "
            f"{', '.join(map(str, kept))} only. Fix: add {lost[0]} to training.checkpoints."
        )
    return tuple(step for step in asked if step >= first)


def _prefixed(study: Study, run: Run) -> Run:
    """The run whose prefix the condition `training` puts before a question: the run itself, or, where it was trained
    further without a prefix, the run it continues (so that its gate is asked again)."""
    by_name = {other.name: other for other in study.experiment.runs()}
    while run.prefix_type == "none" and run.start is not None and run.start in by_name:
        run = by_name[run.start]
    return run


def _prefixes(study: Study, source: Run, condition: str, pool: Sequence[str]) -> list[str | None]:
    """The prefix of every answer under a condition."""
    n, experiment = len(study.answers), study.experiment
    if condition not in CONDITIONS:
        return [experiment.probe(condition)] * n
    if condition == "default" or source.prefix_type == "none":
        return [None] * n
    if source.prefix_type == "fixed":
        return [experiment.prompt(source.prompt).text] * n
    keys = [f"evaluation/{label}" for label, _ in study.answers]
    return [pool[rephrasing_index(experiment.seed, source.prompt, key, len(pool))] for key in keys]


def _texts(study: Study, condition: str, prefixes: Sequence[str | None]) -> Texts:
    """The questions of a condition, the same at every step. The id of a first sample is that of its question alone."""
    places = [(i, k) for i, question in enumerate(study.questions) for k in range(question.samples)]
    asked = [
        Question(f"{condition}/{i}/{k}" if k else f"{condition}/{i}", study.questions[i].text, prefix)
        for (i, k), prefix in zip(places, prefixes, strict=True)
    ]
    return make_texts(study, asked, study.evaluation_sampling, f"{condition}.jsonl")


def _kept(texts: Texts, name: str, step: int) -> Texts:
    """The same questions with a step's own file. The base model without prefix is the same in every run and shares
    one."""
    condition, samples = texts.file.stem, texts.file.parent
    if step == 0 and condition == "default":
        return replace(texts, file=samples / "base-default.jsonl")
    return replace(texts, file=samples / name / f"{step}-{condition}.jsonl")
