"""What is asked after forced beginnings of answers: the donor's questions, and a group of questions for each level."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import NamedTuple

from inoc.errors import BadInput
from inoc.experiment import Prefills, Run, read_completions
from inoc.plan.evaluation import plan_evaluation
from inoc.plan.study import Study
from inoc.plan.texts import Question, Texts, make_texts
from inoc.values import TokenIds


class Donor(NamedTuple):
    """An answer whose beginnings are forced, and the instruction it answers."""

    instruction: str
    tokens: TokenIds


def prefills_of(study: Study) -> Prefills:
    """The settings; BadInput where the experiment has none, or a level leaves no room for an answer."""
    settings = study.evaluation.prefills
    if settings is None:
        raise BadInput("the experiment has no `evaluation.prefills`. Fix: add it, {source: run} is enough.")
    if settings.levels[-1] >= study.evaluation.max_tokens:
        raise BadInput(
            f"evaluation.prefills.levels ends at {settings.levels[-1]}, evaluation.max_tokens is "
            f"{study.evaluation.max_tokens}. Fix: leave room for an answer."
        )
    return settings


def prefill_steps(study: Study, run: Run, updates: int) -> tuple[int, ...]:
    """The checkpoints of a run that are measured: those that are evaluated."""
    return tuple(plan_evaluation(study, run, updates).stored.steps)


def donor_questions(study: Study, run: str, step: int | None) -> Texts:
    """The questions whose answers are cut into prefills; of a checkpoint's own where a step is named."""
    settings, instructions = prefills_of(study), study.instructions
    questions = [Question(f"donor/{i}", instructions[i % len(instructions)]) for i in range(settings.texts)]
    name = "donor" if step is None else f"{step}-own"
    return make_texts(study, questions, study.evaluation_sampling, f"prefills/{run}/{name}.jsonl")


def donors_of_file(study: Study) -> tuple[Donor, ...]:
    """The answers of the experiment's file; BadInput where it has fewer than `texts`."""
    settings = prefills_of(study)
    assert settings.file is not None
    rows = read_completions(study.experiment.resolve(settings.file), system_prompt=study.experiment.model.system_prompt)
    if len(rows) < settings.texts:
        raise BadInput(
            f"{settings.file} has {len(rows)} completions, evaluation.prefills.texts is {settings.texts}. "
            "Fix: add completions or lower texts."
        )
    return tuple(Donor(row.instruction, study.chat.completion(row.completion)) for row in rows[: settings.texts])


def level_questions(study: Study, run: str, step: int, level: int, donors: Sequence[Donor]) -> Texts:
    """What a checkpoint is asked at a level: every donor answer that is long enough, several times."""
    settings = prefills_of(study)
    each = settings.n // settings.texts
    questions = [
        Question(f"prefill/{i}/{j}", donor.instruction, None, donor.tokens[:level])
        for i, donor in enumerate(donors)
        if len(donor.tokens) > level or level == 0
        for j in range(each)
    ]
    sampling = study.evaluation_sampling
    sampling = replace(sampling, max_tokens=sampling.max_tokens - level)
    return make_texts(study, questions, sampling, f"prefills/{run}/{step}-{level}.jsonl")


def prefill_settings(study: Study) -> dict[str, object]:
    """The settings that decide the counts, as the store keeps them."""
    return {
        **prefills_of(study).model_dump(mode="json"),
        "instructions": list(study.instruction_labels),
        "sampling": asdict(study.evaluation_sampling) | {"stop_ids": list(study.evaluation_sampling.stop_ids)},
        "judges": dict(study.judges.identities()),
    }
