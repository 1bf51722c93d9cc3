"""Stage `generate`: completion sets sampled from the base model or copied from a dataset, with a record of how."""

from collections.abc import Sequence

from inoc.experiment import Example, Generate
from inoc.plan import Study
from inoc.plan.texts import generated_texts, sets_to_make
from inoc.stages.datasets import Generated, from_dataset, write_set
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.sampling import sample


def generate(study: Study, sets: Sequence[str] = (), watcher: Watcher | None = None) -> tuple[Generated, ...]:
    """Make every completion set that has `generate` or `dataset` and no file yet.

    Args:
        study: Whose sets are made.
        sets: Only these; empty for all.
        watcher: Who is told how it goes.

    Returns:
        What was made, in order.

    Raises:
        BadInput: The instructions or the dataset cannot be used.
        BadResult: The backend answered wrongly, or no answer is left.
    """
    watcher = watcher or Unwatched()
    wanted = sets_to_make(study, sets)
    watcher.begin("generating", len(wanted))
    made: list[Generated] = []
    for name, entry in wanted.items():
        if entry.generate is not None:
            made.append(_sampled(study, name, entry.generate))
        elif entry.dataset is not None:
            made.append(from_dataset(study.experiment, name, entry.dataset))
        watcher.step(name, f"{made[-1].rows} rows")
    return tuple(made)


def _sampled(study: Study, name: str, settings: Generate) -> Generated:
    texts = generated_texts(study, name, settings)
    (answers,) = sample(study, [texts])
    record: dict[str, object] = {
        "model": dict(study.backend.identity()),
        "system_prompt": study.experiment.model.system_prompt,
        **settings.model_dump(include={"instruction_prefix", "temperature", "top_p", "max_tokens", "seed"}),
    }
    rows = [
        Example(
            str(i),
            question.instruction,
            answer.text.strip(),
            "length" if answer.finish == "length" else "stop",
        )
        for i, (question, answer) in enumerate(zip(texts.questions, answers, strict=True))
    ]
    return write_set(name, study.experiment.completion_path(name), rows, record)
