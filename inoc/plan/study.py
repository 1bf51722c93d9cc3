"""A study: an experiment, the backend that does the work and the store that keeps the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from inoc.backends.protocols import Backend
from inoc.chat import Chat
from inoc.errors import BadInput
from inoc.experiment import Evaluation, Experiment, Run, read_instructions, read_pools, subset
from inoc.names import unknown
from inoc.plan.judges import Judges, open_judges
from inoc.values import Recipe, Sampling, Scalar


@dataclass(frozen=True)
class Study:
    """What every stage takes. Of the backend, the plan uses the tokenizer, the context length and the identity.

    Attributes:
        experiment: The experiment file.
        backend: What scores, samples and trains.
        store: The store's directory; it need not exist yet.
        recipe: Which tokens of a completion are scored and learned, and which rephrasing an example gets.
    """

    experiment: Experiment
    backend: Backend
    store: Path
    recipe: Recipe = "corrected"

    @cached_property
    def chat(self) -> Chat:
        """How texts become token ids for the experiment's model."""
        model, placement = self.experiment.model, self.experiment.placement
        return Chat(self.backend.tokenizer, model.system_prompt, placement, self.recipe, model.template_options)

    @cached_property
    def judges(self) -> Judges:
        """The judge of each trait."""
        return open_judges(self.experiment)

    @property
    def work(self) -> Path:
        """The folder next to the store (`run.zarr`, `run.work`) for what is costly to make and not stored yet."""
        return self.store.with_name(self.store.name.removesuffix(".zarr") + ".work")

    @property
    def evaluation(self) -> Evaluation:
        """The `evaluation` section; BadInput where the experiment has none."""
        if self.experiment.evaluation is None:
            raise BadInput("the experiment has no `evaluation`. Fix: name the held-out instructions there.")
        return self.experiment.evaluation

    @property
    def evaluation_sampling(self) -> Sampling:
        """How the held-out instructions are answered."""
        return self.evaluation.sampling((self.chat.end_of_turn,))

    @property
    def sampling_settings(self) -> dict[str, Scalar]:
        """What the store records of how the held-out instructions are answered; part of an evaluation's identity."""
        evaluation = self.evaluation
        return {name: getattr(evaluation, name) for name in ("temperature", "top_p", "max_tokens", "seed")}

    @cached_property
    def instructions(self) -> tuple[str, ...]:
        """The held-out instructions, `evaluation.n` of each file, file by file."""
        evaluation = self.evaluation
        texts: list[str] = []
        for path in evaluation.instructions.values():
            found = tuple(dict.fromkeys(read_instructions(self.experiment.resolve(path))))
            if len(found) < evaluation.n:
                raise BadInput(
                    f"{path} has {len(found)} distinct instructions, fewer than evaluation.n = {evaluation.n}. "
                    "Fix: add instructions or lower evaluation.n."
                )
            texts += subset(found, evaluation.n, evaluation.seed)
        return tuple(texts)

    @cached_property
    def instruction_labels(self) -> tuple[str, ...]:
        """The instructions as the store names them: after the file's name where there are several files."""
        names, n = list(self.evaluation.instructions), self.evaluation.n
        if len(names) < 2:
            return self.instructions
        return tuple(f"{names[i // n]}: {text}" for i, text in enumerate(self.instructions))

    def prompts(self, names: Sequence[str] = ()) -> tuple[str, ...]:
        """The keys of the prompts named by key or by group; all where `names` is empty.

        Raises:
            BadInput: There is no such prompt or group.
        """
        return self.experiment.named(names)

    def runs(self, names: Sequence[str] = ()) -> tuple[Run, ...]:
        """The runs of the experiment, or those named.

        Raises:
            BadInput: There is no such run; the message suggests the nearest.
        """
        runs = self.experiment.runs()
        if not runs:
            raise BadInput(
                "the experiment has no `training.runs`, so there is nothing to train or evaluate. Fix: add runs."
            )
        known = {run.name for run in runs}
        for name in names:
            if name not in known:
                raise BadInput(unknown("run", name, [run.name for run in runs]))
        return tuple(run for run in runs if not names or run.name in names)

    def pools(self, keys: Sequence[str]) -> dict[str, tuple[str, ...]]:
        """The rephrasing pools of these prompts.

        Raises:
            BadInput: With a sentence for every pool that is missing or too small.
        """
        if not keys:
            return {}
        settings = self.experiment.rephrasings
        if settings is None:
            raise BadInput(
                "prefix type mix needs rephrasings. Fix: name a folder of pools in `rephrasings` of the experiment."
            )
        pools, wrong = read_pools(self.experiment.resolve(settings.path), keys, settings.size)
        if wrong:
            raise BadInput("\n  ".join([*wrong, "Fix: run `inoc rephrase`, or lower rephrasings.size."]))
        return pools
