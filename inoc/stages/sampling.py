"""Sampling the answers a plan lists; they are kept on disk until stored, so that nothing is sampled twice."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.backends.protocols import Checkpoint, Completion, Sampler, SampleRequest
from inoc.errors import BadResult
from inoc.plan import Study, Texts
from inoc.plan.identity import answers_identity
from inoc.plan.texts import sample_requests
from inoc.stages.capable import capable
from inoc.stages.side_by_side import side_by_side
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
    return next(answers for _, answers in sample_each(study, [Asking(groups, checkpoint)]))


class Asking(NamedTuple):
    """What is asked of one checkpoint, in one batch."""

    groups: Sequence[Texts]
    checkpoint: Checkpoint | None = None


def sample_each(study: Study, asked: Iterable[Asking]) -> Iterator[tuple[Asking, tuple[tuple[Answer, ...], ...]]]:
    """The answers to each batch, in order, as `sample` gives them; a pool works on several batches at once."""
    begun: set[Path] = set()  # another batch under way asks the same: its answers come first

    def prepared() -> Iterator[tuple[Asking, list[Texts], tuple[SampleRequest, ...]]]:
        for asking in asked:
            new = [texts for texts in asking.groups if texts.file not in begun]
            missing = [texts for texts in new if kept_answers(texts, asking.checkpoint) is None]
            begun.update(texts.file for texts in missing)
            yield asking, missing, sample_requests(study.chat, study.backend.context_length, missing, asking.checkpoint)

    def answered(given: tuple[Asking, list[Texts], tuple[SampleRequest, ...]]) -> list[Completion]:
        _, missing, requests = given
        if not missing:
            return []
        return list(capable(study.backend, Sampler, "sample").sample(requests, missing[0].sampling))

    for (asking, missing, _), completions in side_by_side(study.backend, answered, prepared(), in_order=True):
        keep_answers(study, missing, asking.checkpoint, completions.result())
        yield asking, tuple(kept_answers(texts, asking.checkpoint) or () for texts in asking.groups)


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
