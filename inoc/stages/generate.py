"""Stage `generate`: completion sets sampled from a model or copied from a dataset, with a record of how."""

from collections.abc import Generator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace

from inoc.backends import load_backend
from inoc.backends.base import BackendBase
from inoc.backends.registry import BACKENDS
from inoc.experiment import Example, Generate
from inoc.plan import Study
from inoc.plan.texts import generated_texts, sets_to_make
from inoc.plugins import versions
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
    rows: list[Row] = []
    tokens = 0
    for name, entry in sets_to_make(study, sets).items():
        if entry.generate is None:
            detail = "" if entry.dataset is None else f"from the dataset {entry.dataset.name}"
            rows.append(Row(name, "sets", 1, 0, 0, detail))
        elif entry.generate.instructions is None and "train" in sets_to_make(study):
            detail = "tokens are counted once the set train is made"
            rows.append(Row(name, "answers", entry.generate.n, 0, 0, detail))
        else:
            by = entry.generate.by
            with _writer(study, entry.generate, offline=True) as writer:
                asked = Asked(generated_texts(study, name, entry.generate, writer), False)
                rows.append(answers_row(writer, name, [asked], f"by {by.model.id}, without a price" if by else ""))
            tokens += 0 if by else rows[-1].tokens
    return Forecast("generate", tuple(rows), price_of(study, tokens, "sample"))


@contextmanager
def _writer(study: Study, settings: Generate, offline: bool = False) -> Generator[Study]:
    """The study, asking the model that writes the answers."""
    if settings.by is None:
        yield study
        return
    experiment = study.experiment.asking(settings.by)
    with closing(load_backend(settings.by.backend.name, experiment.model_spec())) as backend:
        if isinstance(backend, BackendBase):
            backend.offline = offline
        yield replace(study, experiment=experiment, backend=backend)


def _sampled(study: Study, name: str, settings: Generate) -> Generated:
    with _writer(study, settings) as writer:
        texts = generated_texts(study, name, settings, writer)
        (answers,) = sample(writer, [texts])
        record: dict[str, object] = {
            "model": dict(writer.backend.identity()),
            "system_prompt": writer.experiment.model.system_prompt,
        }
    if settings.by is not None:
        record |= {"backend": settings.by.backend.model_dump(mode="json")}
        record |= {"plugins": versions([BACKENDS.find(settings.by.backend.name)])}
    record |= {**settings.model_dump(include={"instruction_prefix", "temperature", "top_p", "max_tokens", "seed"})}
    rows = [
        Example(str(i), question.instruction, answer.text.strip(), "length" if answer.finish == "length" else "stop")
        for i, (question, answer) in enumerate(zip(texts.questions, answers, strict=True))
    ]
    return write_set(name, study.experiment.completion_path(name), rows, record)
