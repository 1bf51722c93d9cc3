"""Stage `generate`: completion sets sampled from the base model or copied from a dataset, with a record of how."""

from collections.abc import Sequence

from inoc.experiment import Example, Generate
from inoc.plan import Study
from inoc.plan.texts import generated_texts, sets_to_make
from inoc.stages.datasets import Generated, from_dataset, write_set
from inoc.stages.forecast import Asked, Forecast, Row, answers_row, price_of
from inoc.stages.progress import UNWATCHED, Watcher
from inoc.stages.sampling import sample


def generate(study: Study, sets: Sequence[str] = (), watcher: Watcher = UNWATCHED) -> tuple[Generated, ...]:
    """Make every completion set (of `sets`, if any are named) that has `generate` or `dataset` and no file yet."""
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


def forecast_generation(study: Study, sets: Sequence[str] = ()) -> Forecast:
    """What `inoc generate` would do: answers by completion set."""
    wanted = sets_to_make(study, sets)
    rows: list[Row] = []
    for name, entry in wanted.items():
        if entry.generate is None:
            detail = "" if entry.dataset is None else f"from the dataset {entry.dataset.name}"
            rows.append(Row(name, "sets", 1, 0, 0, detail))
        elif entry.generate.instructions is None and "train" in sets_to_make(study):
            detail = "tokens are counted once the set train is made"
            rows.append(Row(name, "answers", entry.generate.n, 0, 0, detail))
        else:
            rows.append(answers_row(study, name, [Asked(generated_texts(study, name, entry.generate), False)]))
    return Forecast("generate", tuple(rows), price_of(study, sum(row.tokens for row in rows), "sample"))


def _sampled(study: Study, name: str, settings: Generate) -> Generated:
    texts = generated_texts(study, name, settings)
    (answers,) = sample(study, [texts])
    record: dict[str, object] = {
        "model": dict(study.backend.identity()),
        "system_prompt": study.experiment.model.system_prompt,
        **settings.model_dump(include={"instruction_prefix", "temperature", "top_p", "max_tokens", "seed"}),
    }
    rows = [
        Example(str(i), question.instruction, answer.text.strip(), "length" if answer.finish == "length" else "stop")
        for i, (question, answer) in enumerate(zip(texts.questions, answers, strict=True))
    ]
    return write_set(name, study.experiment.completion_path(name), rows, record)
