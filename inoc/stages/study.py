"""What every stage after scoring needs: experiment, backend, chat, judges, pools, the store and its work folder."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from inoc.backends.protocols import Backend
from inoc.chat import Chat
from inoc.errors import BadInput, OtherSettings
from inoc.experiment import Experiment, Run, read_instructions, read_pools, subset
from inoc.stages.judging import Judges, open_judges
from inoc.stages.score import open_chat, open_writer, store_identity
from inoc.stages.work import work_folder
from inoc.store.store import Store
from inoc.store.writer import StoreWriter
from inoc.values import Scalar

SPOKEN = ("model", "revision", "weights", "baseline", "baseline_context", "placement", "template", "seed")
"""Identity fields that every stage must share; the others (engine, dtype, ...) belong to the scores of one stage."""


@dataclass(frozen=True)
class Study:
    """An experiment with the backend that does the work and the store that keeps the results."""

    experiment: Experiment
    backend: Backend
    store: Path

    @cached_property
    def chat(self) -> Chat:
        return open_chat(self.experiment, self.backend)

    @cached_property
    def judges(self) -> Judges:
        return open_judges(self.experiment)

    @property
    def work(self) -> Path:
        return work_folder(self.store)

    def open_writer(self) -> StoreWriter:
        """The store for writing. What other backends wrote into it must have come from the same model, spoken to in
        the same way; the engine may differ.

        Raises OtherSettings with the differing fields.
        """
        writer_of_new = not (self.store / "zarr.json").exists()
        if writer_of_new:
            return self._with_prompts(open_writer(self.experiment, self.backend, self.chat, self.store))
        stored = Store(self.store)
        mine = store_identity(self.experiment, self.backend, self.chat)
        lines = [
            f"{name}: stored {stored.identity[name]!r}, now {mine[name]!r}"
            for name in SPOKEN
            if name in stored.identity and name in mine and stored.identity[name] != mine[name]
        ]
        if lines:
            raise OtherSettings(
                f"{self.store} was made with other settings; choose another --store or restore them:\n  "
                + "\n  ".join(lines)
            )
        return self._with_prompts(
            StoreWriter.open(
                self.store,
                identity=stored.identity,
                experiment=self.experiment.model_dump(mode="json"),
                provenance=stored.provenance,
                traits=stored.traits,
            )
        )

    def _with_prompts(self, writer: StoreWriter) -> StoreWriter:
        try:
            fields = {"key", "text", "group", "family", "role"}
            writer.put_prompts([p.model_dump(include=fields) for p in self.experiment.prompt_list()])
        except BaseException as error:
            writer.__exit__(type(error), error, None)
            raise
        return writer

    @cached_property
    def instructions(self) -> tuple[str, ...]:
        """The held-out instructions of the evaluation, `n` of each file; a file's name goes before its texts where
        there are several (their labels in the store)."""
        evaluation = self.experiment.evaluation
        if evaluation is None:
            raise BadInput("the experiment has no `evaluation`: name the held-out instructions there.")
        texts: list[str] = []
        for path in evaluation.instructions.values():
            found = tuple(dict.fromkeys(read_instructions(self.experiment.resolve(path))))
            if len(found) < evaluation.n:
                raise BadInput(
                    f"{path} has {len(found)} distinct instructions, fewer than evaluation.n = {evaluation.n}; add "
                    "some or ask for fewer."
                )
            texts += subset(found, evaluation.n, evaluation.seed)
        return tuple(texts)

    @cached_property
    def instruction_labels(self) -> tuple[str, ...]:
        """The instructions as the store names them, unique."""
        evaluation = self.experiment.evaluation
        names = list(evaluation.instructions) if evaluation else []
        if len(names) < 2 or evaluation is None:
            return self.instructions
        return tuple(f"{names[i // evaluation.n]}: {text}" for i, text in enumerate(self.instructions))

    def pools(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The rephrasing pools of these prompts.

        Raises BadInput with a sentence for every pool that is missing or too small.
        """
        if not keys:
            return {}
        settings = self.experiment.rephrasings
        if settings is None:
            raise BadInput("prefix type mix needs `rephrasings` in the experiment file: a folder of pools.")
        pools, wrong = read_pools(self.experiment.resolve(settings.path), keys, settings.size)
        if wrong:
            raise BadInput("\n  ".join(["rephrasing pools:", *wrong]) if len(wrong) > 1 else wrong[0])
        return pools

    def runs(self, names: Sequence[str] = ()) -> tuple[Run, ...]:
        """The fine-tunings of the experiment, or those named.

        Raises BadInput for a name that is none of them, with the nearest one.
        """
        import difflib

        runs = self.experiment.runs()
        if not runs:
            raise BadInput("the experiment has no `training.runs`, so there is nothing to train or evaluate.")
        known = {run.name: run for run in runs}
        for name in names:
            if name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                hint = f" Did you mean {near[0]!r}?" if near else f" There are {', '.join(known)}."
                raise BadInput(f"the experiment has no run {name!r}.{hint}")
        return tuple(run for run in runs if not names or run.name in names)

    def backend_record(self) -> dict[str, Scalar]:
        """What a run's settings say of the backend that made it."""
        return {"backend": self.backend.name, **self.backend.identity()}
