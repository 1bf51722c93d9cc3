"""Sampling the answers a plan lists; they are kept on disk until stored, so that nothing is sampled twice."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from inoc.backends.protocols import Checkpoint, Completion, Sampler
from inoc.errors import BadResult
from inoc.plan import Study, Texts
from inoc.plan.identity import answers_identity
from inoc.plan.texts import sample_requests
from inoc.stages.capable import capable
from inoc.stages.work import keep_rows, kept_rows


class Answer(NamedTuple):
    """`finish` is "length" where the answer was cut at max_tokens."""

    text: str
    finish: str


def sample(
    study: Study, groups: Sequence[Texts], checkpoint: Checkpoint | None = None
) -> tuple[tuple[Answer, ...], ...]:
    """The answers of each group; what its file does not hold yet is sampled, all groups in one batch.

    Raises:
        BadResult: The backend left out, repeated or invented an answer; nothing is written then.
    """
    missing = [texts for texts in groups if kept_answers(texts, checkpoint) is None]
    if missing:
        requests = sample_requests(study.chat, study.backend.context_length, missing, checkpoint)
        completions = capable(study.backend, Sampler, "sample").sample(requests, missing[0].sampling)
        keep_answers(study, missing, checkpoint, completions)
    return tuple(kept_answers(texts, checkpoint) or () for texts in groups)


def kept_answers(texts: Texts, checkpoint: Checkpoint | None = None) -> tuple[Answer, ...] | None:
    """The answers in a group's file; None where it holds none to these very questions and settings."""
    rows = kept_rows(texts.file, answers_identity(texts.hash, checkpoint), len(texts.questions))
    return None if rows is None else tuple(Answer(str(row["text"]), str(row["finish"])) for row in rows)


def keep_answers(
    study: Study, groups: Sequence[Texts], checkpoint: Checkpoint | None, completions: Iterable[Completion]
) -> None:
    """Write the answers to what `sample_requests` asked into the files of the groups, all or none."""
    for texts, answers in zip(groups, collect_answers(study, groups, completions), strict=True):
        keep_rows(texts.file, answers_identity(texts.hash, checkpoint), [answer._asdict() for answer in answers])


def collect_answers(
    study: Study, groups: Sequence[Texts], completions: Iterable[Completion]
) -> list[tuple[Answer, ...]]:
    """The completions as texts, group by group in the order of the questions."""
    ids = [[f"{n}/{question.id}" for question in texts.questions] for n, texts in enumerate(groups)]
    wanted = {f"{n}/{question.id}": question.forced for n, texts in enumerate(groups) for question in texts.questions}
    answers: dict[str, Answer] = {}
    for completion in completions:
        if completion.id not in wanted or completion.id in answers:
            raise BadResult(f"the backend answered {completion.id!r}, which was not asked or is answered twice.")
        tokens = (*wanted[completion.id], *completion.token_ids)
        text = study.chat.tokenizer.decode(tokens, skip_special_tokens=True)
        answers[completion.id] = Answer(text, completion.finish)
    if len(answers) != len(wanted):
        raise BadResult(f"the backend left {len(wanted) - len(answers)} of {len(wanted)} questions unanswered.")
    return [tuple(answers[id] for id in group) for group in ids]
