"""Sampling answers from a backend: instructions in, texts out, kept on disk so that nothing is sampled twice."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.backends.protocols import Backend, Checkpoint, Completion, Sampler, SampleRequest
from inoc.chat import Chat
from inoc.errors import BackendRejected, BadInput, BadResult
from inoc.stages.work import fingerprint, read_rows, write_rows
from inoc.values import Sampling


class Question(NamedTuple):
    """One text to answer. `id` decides its random stream; `prefix` None is the default baseline."""

    id: str
    instruction: str
    prefix: str | None = None


class Answer(NamedTuple):
    """`finish` is "length" where the answer was cut at max_tokens."""

    text: str
    finish: str


def sampler_of(backend: Backend) -> Sampler:
    """The backend as a Sampler; BackendRejected where it is none."""
    if not backend.capabilities.sample or not isinstance(backend, Sampler):
        raise BackendRejected(
            f"the backend {backend.name!r} cannot sample; choose one that can (`inoc backends`)."
        )
    return backend


Groups = Mapping[Path, Sequence[Question]]
"""Questions by the file that keeps their answers."""


def kept_answers(
    backend: Backend, chat: Chat, groups: Groups, sampling: Sampling, checkpoint: Checkpoint | None = None
) -> tuple[tuple[Answer, ...], ...]:
    """Answers of several groups of questions, group by group; what is missing is sampled in one batch.

    Each group's answers are kept in its file until the stage that asked has stored them. A file that holds answers to
    the very same questions and settings is read instead of sampling again.
    """
    found = {
        path: _read_kept(path, _mark(chat, questions, sampling, checkpoint), len(questions))
        for path, questions in groups.items()
    }
    missing = {path: groups[path] for path, answers in found.items() if answers is None}
    if missing:
        requests = make_requests(chat, missing, sampling, backend.context_length, checkpoint)
        completions = sampler_of(backend).sample(requests, sampling)
        found |= keep_answers(chat, missing, sampling, checkpoint, completions)
    return tuple(answers for answers in found.values() if answers is not None)


def sample_answers(
    backend: Backend, chat: Chat, questions: Sequence[Question], sampling: Sampling
) -> tuple[Answer, ...]:
    """Answers of the base model in the order of `questions`, all in one batch, kept nowhere."""
    groups = {Path(): questions}
    requests = make_requests(chat, groups, sampling, backend.context_length)
    (answers,) = _answers(chat, groups, sampler_of(backend).sample(requests, sampling)).values()
    return answers


def make_requests(
    chat: Chat, groups: Groups, sampling: Sampling, context_length: int, checkpoint: Checkpoint | None = None
) -> tuple[SampleRequest, ...]:
    """The requests of all groups as one batch. Questions of the same id in several groups meet the same random
    stream, so that their answers are compared in pairs.

    Raises BadInput where a context leaves no room for an answer of `max_tokens`, or two questions of a group share
    an id.
    """
    requests: list[SampleRequest] = []
    for n, questions in enumerate(groups.values()):
        if len({question.id for question in questions}) != len(questions):
            raise BadInput("two questions share an id; ids decide random streams and must differ.")
        for question in questions:
            context = chat.context(question.instruction, question.prefix)
            if len(context) + sampling.max_tokens > context_length:
                raise BadInput(
                    f"question {question.id!r}: {len(context)} tokens of context and max_tokens "
                    f"{sampling.max_tokens} exceed the model's {context_length}; lower max_tokens or shorten it."
                )
            requests.append(SampleRequest(_request_id(n, question), context, checkpoint, question.id))
    return tuple(requests)


def keep_answers(
    chat: Chat,
    groups: Groups,
    sampling: Sampling,
    checkpoint: Checkpoint | None,
    completions: Iterable[Completion],
) -> dict[Path, tuple[Answer, ...]]:
    """Write the answers to what `make_requests` asked into the files that `kept_answers` reads.

    Raises BadResult where the backend left out, repeated or invented an answer; nothing is written then.
    """
    found = _answers(chat, groups, completions)
    for path, answers in found.items():
        rows = [{"text": answer.text, "finish": answer.finish} for answer in answers]
        mark = _mark(chat, groups[path], sampling, checkpoint)
        write_rows(path, [{"asked": mark, "n": len(rows)}, *rows])
    return found


def _request_id(group: int, question: Question) -> str:
    return f"{group}/{question.id}"


def _answers(chat: Chat, groups: Groups, completions: Iterable[Completion]) -> dict[Path, tuple[Answer, ...]]:
    """The completions as texts, by group in the order of its questions."""
    ids = {
        path: [_request_id(n, question) for question in questions]
        for n, (path, questions) in enumerate(groups.items())
    }
    wanted = {id for group in ids.values() for id in group}
    answers: dict[str, Answer] = {}
    for completion in completions:
        if completion.id not in wanted or completion.id in answers:
            raise BadResult(f"the backend answered {completion.id!r}, which was not asked (again).")
        text = chat.tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        answers[completion.id] = Answer(text, completion.finish)
    if len(answers) != len(wanted):
        raise BadResult(
            f"the backend left {len(wanted) - len(answers)} of {len(wanted)} questions unanswered."
        )
    return {path: tuple(answers[id] for id in group) for path, group in ids.items()}


def _mark(
    chat: Chat, questions: Sequence[Question], sampling: Sampling, checkpoint: Checkpoint | None
) -> str:
    """Names everything that decides the answers."""
    where = None if checkpoint is None else [checkpoint.step, checkpoint.location]
    return fingerprint([list(question) for question in questions], repr(sampling), where, chat.identity())


def _read_kept(path: Path, mark: str, n: int) -> tuple[Answer, ...] | None:
    if not path.exists():
        return None
    head, *rows = read_rows(path)
    if head != {"asked": mark, "n": n} or len(rows) != n:
        return None
    return tuple(Answer(str(row["text"]), str(row["finish"])) for row in rows)
