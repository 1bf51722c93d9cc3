"""What the checkpoints of a run are asked: the held-out instructions under every condition."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.backends.protocols import CheckpointQuestions
from inoc.chat import rephrasing_index
from inoc.experiment import Run
from inoc.stages.sampling import Question, make_requests
from inoc.stages.study import Study

LEAK = "leak"
"""Leak-grid evaluations are stored as a run of their own, named `<run>+leak`; its conditions are prompt keys."""


class KeptQuestions(NamedTuple):
    """The questions of one evaluation, and the file that keeps their answers until they are judged."""

    path: Path
    questions: tuple[Question, ...]


def conditions_of(study: Study, name: str) -> tuple[str, ...]:
    """The conditions of a stored run: those of the evaluation, or the prompts of the leak grid."""
    evaluation = study.experiment.evaluation
    assert evaluation is not None
    if name.endswith(f"+{LEAK}"):
        return study.experiment.select(evaluation.leak_grid)
    return evaluation.conditions


def prefixed_run(study: Study, run: Run) -> Run:
    """The run whose prefix the condition `training` puts before a question: the run itself, or, where it was trained
    further without a prefix, the run it continues (so that its gate is asked again)."""
    by_name = {other.name: other for other in study.experiment.runs()}
    while run.prefix_type == "none" and run.start is not None and run.start in by_name:
        run = by_name[run.start]
    return run


def evaluation_pools(study: Study, runs: Sequence[Run]) -> dict[str, tuple[str, ...]]:
    """The pools that the evaluation of these runs draws from."""
    prefixed = [prefixed_run(study, run) for run in runs]
    return study.pools(list(dict.fromkeys(run.prompt for run in prefixed if run.prefix_type == "mix")))


def kept_questions(
    study: Study, run: Run, name: str, step: int, condition: str, pools: Mapping[str, Sequence[str]]
) -> KeptQuestions:
    """What the run's checkpoint of an update is asked under a condition. `name` is the stored run: the run's own or
    that of its leak grid. The base model without prefix is the same in every run and shares one file."""
    prefixes = _prefixes(study, run, condition, name, pools)
    questions = tuple(
        Question(f"{condition}/{i}", instruction, prefix)
        for i, (instruction, prefix) in enumerate(zip(study.instructions, prefixes, strict=True))
    )
    folder = study.work / "samples"
    if step == 0 and condition == "default":
        return KeptQuestions(folder / "base-default.jsonl", questions)
    return KeptQuestions(folder / name / f"{step}-{condition}.jsonl", questions)


def questions_of_step(
    study: Study, run: Run, step: int, last: int, pools: Mapping[str, Sequence[str]]
) -> tuple[KeptQuestions, ...]:
    """Everything the checkpoint of an update is asked, the leak grid after the last update too."""
    evaluation = study.experiment.evaluation
    assert evaluation is not None
    names = [run.name, *([f"{run.name}+{LEAK}"] if step == last and evaluation.leak_grid else [])]
    return tuple(
        kept_questions(study, run, name, step, condition, pools)
        for name in names
        for condition in conditions_of(study, name)
    )


def checkpoint_questions(
    study: Study, run: Run, steps: Sequence[int], last: int
) -> tuple[CheckpointQuestions, ...]:
    """The questions for a backend that asks them where it trains; the base model (step 0) is not among them."""
    evaluation = study.experiment.evaluation
    assert evaluation is not None
    pools = evaluation_pools(study, [run])
    sampling = evaluation.sampling((study.chat.end_of_turn,))
    limit = study.backend.context_length
    return tuple(
        CheckpointQuestions(
            step,
            make_requests(
                study.chat, dict(questions_of_step(study, run, step, last, pools)), sampling, limit
            ),
            sampling,
        )
        for step in steps
        if step > 0
    )


def _prefixes(
    study: Study, run: Run, condition: str, name: str, pools: Mapping[str, Sequence[str]]
) -> list[str | None]:
    """The prefix of every instruction under a condition."""
    n, experiment = len(study.instructions), study.experiment
    run = prefixed_run(study, run)
    if name.endswith(f"+{LEAK}"):
        return [experiment.prompt(condition).text] * n
    if condition == "default" or run.prefix_type == "none":
        return [None] * n
    if run.prefix_type == "fixed":
        return [experiment.prompt(run.prompt).text] * n
    pool = pools[run.prompt]
    keys = [f"evaluation/{label}" for label in study.instruction_labels]
    return [pool[rephrasing_index(experiment.seed, run.prompt, key, len(pool))] for key in keys]
