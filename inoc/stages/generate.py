"""Stage `generate`: completion sets sampled from the base model by instruction, with a record of how they were made."""

from collections.abc import Sequence

from inoc.experiment import Example, Generate, read_completions, read_instructions, subset
from inoc.stages.datasets import Generated, from_dataset, write_set
from inoc.stages.progress import Unwatched, Watcher
from inoc.stages.sampling import Question, kept_answers
from inoc.stages.study import Study
from inoc.values import Sampling


def generate(study: Study, sets: Sequence[str] = (), watcher: Watcher | None = None) -> tuple[Generated, ...]:
    """Make every completion set of the experiment that has `generate` or `dataset` and no file yet (or those named)."""
    watcher = watcher or Unwatched()
    todo = [
        (name, entry)
        for name, entry in study.experiment.completion_sets.items()
        if entry.made and (not sets or name in sets) and not study.experiment.completion_path(name).exists()
    ]
    watcher.begin("generating", len(todo))
    made: list[Generated] = []
    for name, entry in todo:
        if entry.generate is not None:
            made.append(_generate(study, name, entry.generate))
        elif entry.dataset is not None:
            made.append(from_dataset(study.experiment, name, entry.dataset))
        watcher.step(name, f"{made[-1].rows} rows")
    return tuple(made)


def _generate(study: Study, name: str, settings: Generate) -> Generated:
    path = study.experiment.completion_path(name)
    instructions = subset(_instructions(study, settings), settings.n, settings.seed)
    prefix = settings.instruction_prefix or None
    questions = [Question(f"{name}/{i}", text, prefix) for i, text in enumerate(instructions)]
    stop = (study.chat.end_of_turn,)
    sampling = Sampling(settings.temperature, settings.top_p, settings.max_tokens, settings.seed, stop)
    keep = study.work / "samples" / "generated" / f"{name}.jsonl"
    (answers,) = kept_answers(study.backend, study.chat, {keep: questions}, sampling)
    record: dict[str, object] = {
        "model": dict(study.backend.identity()),
        "system_prompt": study.experiment.model.system_prompt,
        "instruction_prefix": settings.instruction_prefix,
        "temperature": settings.temperature,
        "top_p": settings.top_p,
        "max_tokens": settings.max_tokens,
        "seed": settings.seed,
    }
    rows = [
        Example(str(i), instruction, answer.text.strip(), "length" if answer.finish == "length" else "stop")
        for i, (instruction, answer) in enumerate(zip(instructions, answers, strict=True))
    ]
    return write_set(name, path, rows, record)


def _instructions(study: Study, settings: Generate) -> tuple[str, ...]:
    """Distinct instructions to answer: the file's, else those of the train set."""
    experiment = study.experiment
    if settings.instructions is not None:
        return tuple(dict.fromkeys(read_instructions(experiment.resolve(settings.instructions))))
    train = read_completions(
        experiment.completion_path("train"), system_prompt=experiment.model.system_prompt
    )
    return tuple(dict.fromkeys(example.instruction for example in train))
