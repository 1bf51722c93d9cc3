"""Sampling answers from a backend: instructions in, texts out, kept on disk so that nothing is sampled twice."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.backends.protocols import Backend, Checkpoint, Sampler, SampleRequest, Sampling
from inoc.chat import Chat
from inoc.errors import BackendRejected, BadInput, BadResult
from inoc.stages.work import fingerprint, read_rows, write_rows


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


def kept_answers(
    backend: Backend,
    chat: Chat,
    groups: Mapping[Path, Sequence[Question]],
    sampling: Sampling,
    checkpoint: Checkpoint | None = None,
) -> tuple[tuple[Answer, ...], ...]:
    """Answers of several groups of questions, group by group; what is missing is sampled in one batch.

    Each group's answers are kept in its file until the stage that asked has stored them. A file that holds answers to
    the very same questions and settings is read instead of sampling again.
    """
    marks = {path: _mark(chat, questions, sampling, checkpoint) for path, questions in groups.items()}
    found = {path: _read_kept(path, marks[path], len(questions)) for path, questions in groups.items()}
    missing = [path for path, answers in found.items() if answers is None]
    if missing:
        asked = [question for path in missing for question in groups[path]]
        sampled = iter(sample_answers(backend, chat, asked, sampling, checkpoint))
        for path in missing:
            answers = tuple(next(sampled) for _ in groups[path])
            rows = [{"text": answer.text, "finish": answer.finish} for answer in answers]
            write_rows(path, [{"asked": marks[path], "n": len(rows)}, *rows])
            found[path] = answers
    return tuple(answers for answers in found.values() if answers is not None)


def sample_answers(
    backend: Backend,
    chat: Chat,
    questions: Sequence[Question],
    sampling: Sampling,
    checkpoint: Checkpoint | None = None,
) -> tuple[Answer, ...]:
    """Answers in the order of `questions`, all in one batch.

    Raises:
        BadInput: a context leaves no room for an answer of `max_tokens`.
        BadResult: the backend left out, repeated or invented an answer.
    """
    requests = [
        SampleRequest(question.id, chat.context(question.instruction, question.prefix), checkpoint)
        for question in questions
    ]
    for request in requests:
        if len(request.context) + sampling.max_tokens > backend.context_length:
            raise BadInput(
                f"question {request.id!r}: {len(request.context)} tokens of context and max_tokens "
                f"{sampling.max_tokens} exceed the model's {backend.context_length}; lower max_tokens or shorten it."
            )
    wanted = {request.id for request in requests}
    if len(wanted) != len(requests):
        raise BadInput("two questions share an id; ids decide random streams and must differ.")
    answers: dict[str, Answer] = {}
    for completion in sampler_of(backend).sample(requests, sampling):
        if completion.id not in wanted or completion.id in answers:
            raise BadResult(
                f"the backend {backend.name!r} answered {completion.id!r}, which was not asked (again)."
            )
        text = chat.tokenizer.decode(completion.token_ids, skip_special_tokens=True)
        answers[completion.id] = Answer(text, completion.finish)
    if len(answers) != len(requests):
        raise BadResult(
            f"the backend {backend.name!r} left {len(requests) - len(answers)} of {len(requests)} questions "
            "unanswered."
        )
    return tuple(answers[request.id] for request in requests)


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
