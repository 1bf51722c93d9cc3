"""What a run is trained on, in which order: rows, prefixes, contrast rows and batches, all decided by seeds."""

import random
from collections.abc import Mapping, Sequence
from pathlib import Path

from inoc.backends.protocols import Checkpoint, TrainingExample, TrainingJob
from inoc.chat import Chat, assign_rephrasings
from inoc.errors import BadInput
from inoc.experiment import Example, Experiment, Hyperparameters, Run, read_completions, subset


def batches(n: int, settings: Hyperparameters, seed: int) -> tuple[tuple[int, ...], ...]:
    """Indices of every update. Each epoch is a fresh shuffle; only full updates count, so 10 000 rows at 32 per update
    are 312 updates and the last 16 rows of an epoch are joined by the first of the next or left out.

    Raises BadInput where not even one update is full.
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
            "(batch_size x accumulation); give more rows or epochs, or smaller batches."
        )
    return tuple(tuple(order[i * size : (i + 1) * size]) for i in range(updates))


def prefixes(
    experiment: Experiment, run: Run, examples: Sequence[Example], pools: Mapping[str, Sequence[str]]
) -> list[str | None]:
    """The prefix of every row: none, the prompt's text, or the rephrasing that scoring gave this example."""
    if run.prefix_type == "none":
        return [None] * len(examples)
    prompt = experiment.prompt(run.prompt)
    if run.prefix_type == "fixed":
        return [prompt.text] * len(examples)
    pool = pools[run.prompt]
    chosen = assign_rephrasings(experiment.seed, run.prompt, [e.id for e in examples], len(pool))
    return [pool[int(index)] for index in chosen]


def training_rows(
    experiment: Experiment, run: Run, chat: Chat, pools: Mapping[str, Sequence[str]]
) -> tuple[TrainingExample, ...]:
    """The rows of a run before shuffling: its data with prefixes, then the contrast rows without."""
    path = experiment.resolve(run.data) if run.data else experiment.completion_path("train")
    examples = _read(path, experiment)
    examples = subset(examples, run.settings.examples, experiment.seed)
    rows = [
        chat.training_example(e.id, e.instruction, e.completion, prefix=prefix, finish=e.finish)
        for e, prefix in zip(examples, prefixes(experiment, run, examples, pools), strict=True)
    ]
    contrast = experiment.training.contrast
    if contrast is not None:
        share = contrast.share
        more = _read(experiment.resolve(contrast.path), experiment)
        n = round(len(rows) * share / (1 - share))
        if n > len(more):
            raise BadInput(
                f"{contrast.path} has {len(more)} rows; a share of {share:g} beside {len(rows)} needs {n}."
            )
        rows += [
            chat.training_example(f"contrast/{e.id}", e.instruction, e.completion, finish=e.finish)
            for e in subset(more, n, experiment.seed)
        ]
    return tuple(rows)


def training_job(
    experiment: Experiment,
    run: Run,
    chat: Chat,
    pools: Mapping[str, Sequence[str]],
    directory: Path,
    context_length: int,
    start: Checkpoint | None = None,
) -> TrainingJob:
    """One fine-tuning, fully decided.

    Raises BadInput for a row longer than the model's context, naming it.
    """
    rows = training_rows(experiment, run, chat, pools)
    for row in rows:
        if len(row.token_ids) > context_length:
            raise BadInput(
                f"training row {row.id!r} has {len(row.token_ids)} tokens, the model's context is {context_length}; "
                "shorten or remove it."
            )
    settings = run.settings
    plan = batches(len(rows), settings, run.seed)
    late = [step for step in settings.checkpoints if step > len(plan)]
    if late:
        raise BadInput(
            f"run {run.name}: training.checkpoints asks for update {late[0]}, but the run has {len(plan)} updates."
        )
    return TrainingJob(
        id=run.name,
        examples=rows,
        batches=plan,
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
        directory=str(directory),
        start=start,
    )


def _read(path: Path, experiment: Experiment) -> tuple[Example, ...]:
    return read_completions(path, system_prompt=experiment.model.system_prompt)
