"""What a run is trained on, in which order: rows, prefixes and batches, all decided by seeds."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inoc.backends.protocols import TrainingExample, TrainingJob
from inoc.chat import assign_rephrasings
from inoc.errors import BadInput
from inoc.experiment import Hyperparameters, MixedRow, Run, mixture, read_completions, subset
from inoc.plan.evaluation import Evaluated, checkpoint_questions, plan_evaluation
from inoc.plan.study import Study


@dataclass(frozen=True)
class TrainingPlan:
    """One fine-tuning, fully decided.

    Attributes:
        run: The run.
        job: What a backend trains. A run that continues another has no `start` here: that is known once the other
            is trained.
        evaluated: The evaluations of its checkpoints.
        rephrasings: The rephrasing each row with the run's own prefix gets, by the row's id; empty unless the prefix
            type is `mix`.
        of_train_set: Whether rows of the train set, which scoring knows by the same ids, are among them.
        folder: Where its checkpoints, resume state and record are.
        start_folder: The folder of the run that it continues.
    """

    run: Run
    job: TrainingJob
    evaluated: Evaluated
    rephrasings: Mapping[str, str]
    of_train_set: bool
    folder: Path
    start_folder: Path | None

    @property
    def updates(self) -> int:
        """How many updates it has."""
        return len(self.job.batches)

    @property
    def tokens(self) -> int:
        """Tokens of all updates."""
        return sum(len(self.job.examples[i].token_ids) for batch in self.job.batches for i in batch)


def plan_training(study: Study, names: Sequence[str] = ()) -> tuple[TrainingPlan, ...]:
    """The runs of the experiment with their rows, batches and evaluations.

    Args:
        study: What to compile.
        names: Only these runs; empty for all.

    Returns:
        One plan per run, in the order of the experiment.

    Raises:
        BadInput: Something is wrong with data, pools, settings or the evaluation.
    """
    return tuple(plan_run(study, run) for run in study.runs(names))


def plan_run(study: Study, run: Run) -> TrainingPlan:
    """One run. See `plan_training`."""
    settings, limit = run.settings, study.backend.context_length
    mixed = mixture(study.experiment, run.data, settings.examples)
    rephrasings = _rephrasings(study, run, mixed) if run.prefix_type == "mix" else {}
    rows = _rows(study, run, mixed, rephrasings)
    for row in rows:
        if len(row.token_ids) > limit:
            raise BadInput(
                f"training row {row.id!r} has {len(row.token_ids)} tokens, more than the model's context of {limit}. "
                "Fix: shorten or remove the row."
            )
    updates = batches(len(rows), settings, run.seed)
    late = [step for step in settings.checkpoints if step > len(updates)]
    if late:
        raise BadInput(
            f"run {run.name}: training.checkpoints asks for update {late[0]}, but the run has {len(updates)}. "
            "Fix: remove that checkpoint or train for longer."
        )
    evaluated = plan_evaluation(study, run, len(updates))
    folder = training_folder(study, run.name)
    start = None if run.start is None else training_folder(study, run.start)
    asks = study.backend.capabilities.samples_while_training
    job = TrainingJob(
        id=run.name,
        examples=rows,
        batches=updates,
        adapter=settings.adapter,
        learning_rate=settings.learning_rate,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        max_grad_norm=settings.max_grad_norm,
        accumulation=settings.accumulation,
        optimizer=settings.optimizer,
        gradient_checkpointing=settings.gradient_checkpointing,
        seed=run.seed,
        checkpoint_steps=tuple(sorted({step for step in settings.checkpoints if step > 0})),
        directory=str(folder),
        questions=checkpoint_questions(study, evaluated) if asks else (),
    )
    return TrainingPlan(run, job, evaluated, rephrasings, _of_train_set(study, run), folder, start)


def training_folder(study: Study, name: str) -> Path:
    """Where the checkpoints, the resume state and the record of a run are."""
    directory = study.experiment.training.directory
    return (study.experiment.resolve(directory) if directory else study.work / "training") / name


def batches(n: int, settings: Hyperparameters, seed: int) -> tuple[tuple[int, ...], ...]:
    """The indices of every update into the `n` training rows, in order.

    Each epoch is a fresh shuffle, and only full updates count: 10 000 rows at 32 per update are 312 updates, and the
    last 16 rows of an epoch join the first of the next or are left out.
    """
    size = settings.batch_size * settings.accumulation
    total = int(n * settings.epochs + 1e-9)
    order: list[int] = []
    for epoch in range(-(-total // n) if n else 0):
        rows = list(range(n))
        random.Random(f"{seed}/{epoch}").shuffle(rows)
        order += rows
    order = order[:total]
    updates = total // size
    if updates < 1:
        raise BadInput(
            f"{n} training rows x {settings.epochs:g} epochs do not fill one update of {size} "
            "(batch_size x accumulation). Fix: add rows or epochs, or make the batches smaller."
        )
    return tuple(tuple(order[i * size : (i + 1) * size]) for i in range(updates))


def _of_train_set(study: Study, run: Run) -> bool:
    train = study.experiment.completion_path("train")
    return not run.data or any(study.experiment.resolve(rows.path) == train for rows in run.data)


def _rephrasings(study: Study, run: Run, mixed: Sequence[MixedRow]) -> dict[str, str]:
    """The rephrasing that scoring gives each row. Recipe `published` knows those of the scored sample only."""
    experiment, sample = study.experiment, None
    own = [row for row in mixed if row.source.prefix == "own"]
    if study.recipe == "published":
        train = experiment.completion_path("train")
        if any(experiment.resolve(row.source.path) != train for row in own):
            raise BadInput(
                f"run {run.name}: recipe published assigns rephrasings by position in the scored sample; `data` names "
                "other rows. Fix: give them prefix none, or score with recipe corrected."
            )
        scored = experiment.completion_sets.train
        rows = read_completions(train, system_prompt=experiment.model.system_prompt)
        sample = [example.id for example in subset(rows, scored.limit, scored.seed)]
    pool = study.pools([run.prompt], run.rephrasings)[run.prompt]
    names = [row.example.id for row in own]
    chosen = assign_rephrasings(experiment.seed, run.prompt, names, len(pool), study.recipe, sample)
    return {row.id: pool[int(index)] for row, index in zip(own, chosen, strict=True)}


def _rows(
    study: Study, run: Run, mixed: Sequence[MixedRow], rephrasings: Mapping[str, str]
) -> tuple[TrainingExample, ...]:
    """The rows of a run before shuffling, each with its prefix."""
    text = study.experiment.prompt(run.prompt).text if run.prefix_type == "fixed" else None
    rows: list[TrainingExample] = []
    for row in mixed:
        written = {"own": rephrasings.get(row.id, text), "none": None}.get(row.source.prefix, row.source.prefix)
        rows.append(_row(study, row, written))
    return tuple(rows)


def _row(study: Study, row: MixedRow, prefix: str | None) -> TrainingExample:
    e = row.example
    if e.plain:
        return study.chat.text_example(row.id, e.completion, prefix=prefix, finish=e.finish)
    return study.chat.training_example(
        row.id,
        e.instruction,
        e.completion,
        prefix=prefix,
        finish=e.finish,
        history=e.history,
        system=e.system,
        loss=row.source.loss,
    )
