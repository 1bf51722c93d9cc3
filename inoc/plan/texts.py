"""Texts to sample: questions, how they are answered, and the file that keeps the answers until they are stored."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

from inoc.backends.protocols import Checkpoint, SampleRequest
from inoc.chat import Chat
from inoc.errors import BadInput
from inoc.experiment import CompletionSet, Generate, read_completions, read_instructions, subset
from inoc.hashing import content_hash
from inoc.names import refuse_unknown
from inoc.plan.study import Study
from inoc.values import Sampling, TokenIds


class Question(NamedTuple):
    """One text to answer. `id` decides its random stream; `prefix` None is the default baseline; `forced` are the
    first tokens of the answer."""

    id: str
    instruction: str
    prefix: str | None = None
    forced: TokenIds = ()


@dataclass(frozen=True)
class Texts:
    """Questions that are answered together.

    Attributes:
        questions: What is asked, in order.
        sampling: How it is answered.
        file: The file that keeps the answers until their stage has stored them.
        hash: The content hash of questions, sampling and template.
    """

    questions: tuple[Question, ...]
    sampling: Sampling
    file: Path
    hash: str


def make_texts(study: Study, questions: Sequence[Question], sampling: Sampling, file: str) -> Texts:
    """Questions with their hash; no two share an id. `file` is relative to the samples in the study's work folder."""
    if len({question.id for question in questions}) != len(questions):
        raise BadInput(f"{file}: two questions share an id, which decides the random stream. Fix: rename one.")
    asked = [question if question.forced else question[:3] for question in questions]
    mark = content_hash(asked, asdict(sampling), study.chat.identity())
    return Texts(tuple(questions), sampling, study.work / "samples" / file, mark)


def sample_requests(
    chat: Chat, context_length: int, groups: Sequence[Texts], checkpoint: Checkpoint | None = None
) -> tuple[SampleRequest, ...]:
    """The requests of several groups as one batch; a request's id is `<index of the group>/<id of the question>`.

    Questions of the same id in several groups get the same random stream, so that their answers are compared in
    pairs. BadInput where a context leaves no room for an answer of `max_tokens`.
    """
    requests: list[SampleRequest] = []
    for n, texts in enumerate(groups):
        for question in texts.questions:
            context = (*chat.context(question.instruction, question.prefix), *question.forced)
            if len(context) + texts.sampling.max_tokens > context_length:
                raise BadInput(
                    f"question {question.id!r}: {len(context)} tokens of context and max_tokens "
                    f"{texts.sampling.max_tokens} exceed the model's {context_length}. Fix: lower max_tokens or "
                    "shorten the instruction."
                )
            requests.append(SampleRequest(f"{n}/{question.id}", context, checkpoint, question.id))
    return tuple(requests)


def most_tokens(study: Study, groups: Sequence[Texts]) -> int:
    """Tokens of all contexts, and of the answers if each is as long as it may be."""
    questions = [question for texts in groups for question in texts.questions]
    contexts = sum(len(study.chat.context(q.instruction, q.prefix)) + len(q.forced) for q in questions)
    return contexts + sum(len(texts.questions) * texts.sampling.max_tokens for texts in groups)


def sets_to_make(study: Study, names: Sequence[str] = ()) -> dict[str, CompletionSet]:
    """The completion sets, all or those named, that inoc makes and that have no file yet.

    Raises:
        BadInput: The file has no completion set of that name.
    """
    refuse_unknown("completion set", names, dict(study.experiment.completion_sets.items()))
    return {
        name: entry
        for name, entry in study.experiment.completion_sets.items()
        if entry.made and (not names or name in names) and not study.experiment.completion_path(name).exists()
    }


def generated_texts(study: Study, name: str, settings: Generate, writer: Study) -> Texts:
    """What the writer's model is asked for a completion set: distinct instructions of the set's file, or of `train`."""
    experiment = study.experiment
    if settings.instructions is not None:
        found = read_instructions(experiment.resolve(settings.instructions))
    else:
        train = experiment.completion_path("train")
        rows = read_completions(train, system_prompt=experiment.model.system_prompt)
        found = tuple(example.instruction for example in rows)
    chosen = subset(tuple(dict.fromkeys(found)), settings.n, settings.seed)
    prefix = settings.instruction_prefix or None
    stop = (writer.chat.end_of_turn,)
    by = "" if settings.by is None else f"-{content_hash(settings.by.model_dump(mode='json'), digits=8)}"
    return make_texts(
        writer,
        [Question(f"{name}/{i}", text, prefix) for i, text in enumerate(chosen)],
        Sampling(settings.temperature, settings.top_p, settings.max_tokens, settings.seed, stop),
        f"generated/{name}{by}.jsonl",
    )


def elicitation_texts(study: Study, keys: Sequence[str]) -> dict[str, Texts]:
    """The held-out instructions under each prompt; the key "" means without a prompt. All get the same random
    streams."""
    groups: dict[str, Texts] = {}
    for key in keys:
        prefix = study.experiment.prompt(key).text if key else None
        questions = [Question(f"{i}", text, prefix) for i, text in enumerate(study.instructions)]
        file = f"elicitation/{key or '(none)'}.jsonl"
        groups[key] = make_texts(study, questions, study.evaluation_sampling, file)
    return groups
