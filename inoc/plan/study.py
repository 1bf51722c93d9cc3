"""A study: an experiment, the backend that does the work and the store that keeps the results."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple

from inoc.backends.protocols import Backend
from inoc.chat import Chat
from inoc.errors import BadInput
from inoc.experiment import Evaluation, Experiment, Run, read_pools, read_questions
from inoc.names import refuse_unknown
from inoc.plan.judges import Judges, open_judges
from inoc.values import Recipe, Sampling, Scalar


class AskedQuestion(NamedTuple):
    """A held-out question: the name of its file, its text, its label in the store, and how often it is asked."""

    file: str
    text: str
    label: str
    samples: int


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
    def questions(self) -> tuple[AskedQuestion, ...]:
        """The held-out questions, `n` of each file, file by file."""
        evaluation, found = self.evaluation, list[AskedQuestion]()
        for name, file in evaluation.questions.items():
            texts = read_questions(self.experiment.resolve(file.path), file.n, evaluation.seed)
            several = len(evaluation.questions) > 1
            found += [AskedQuestion(name, t, f"{name}: {t}" if several else t, file.samples) for t in texts]
        return tuple(found)

    @property
    def instructions(self) -> tuple[str, ...]:
        """The texts of the questions, each once."""
        return tuple(question.text for question in self.questions)

    @property
    def instruction_labels(self) -> tuple[str, ...]:
        """The questions as the store names them: after the file's name where there are several files."""
        return tuple(question.label for question in self.questions)

    @property
    def answers(self) -> tuple[tuple[str, AskedQuestion], ...]:
        """Every answer of an evaluation: its label, the question's or `<question> #<sample>`, and the question."""
        return tuple(
            (question.label if question.samples == 1 else f"{question.label} #{k + 1}", question)
            for question in self.questions
            for k in range(question.samples)
        )

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
        refuse_unknown("run", names, [run.name for run in runs])
        return tuple(run for run in runs if not names or run.name in names)

    def pools(self, keys: Sequence[str], style: Literal["close"] | None = None) -> dict[str, tuple[str, ...]]:
        """The rephrasing pools of these prompts: those of the study, or the close ones.

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
        folder = settings.close if style == "close" else settings.path
        if folder is None:
            raise BadInput("a run takes close rewordings. Fix: name their folder in `rephrasings.close`.")
        pools, wrong = read_pools(self.experiment.resolve(folder), keys, settings.size)
        if wrong:
            raise BadInput("\n  ".join([*wrong, "Fix: run `inoc rephrase`, or lower rephrasings.size."]))
        return pools
