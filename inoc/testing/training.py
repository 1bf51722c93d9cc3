"""The suite of backends that train. It needs the backend's own scorer and nothing else: the loss of update k + 1 is
what the weights after update k say of its examples. Used as that of backends that score (`inoc.testing.scoring`).
"""

from collections.abc import Generator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import ClassVar, Protocol, cast, runtime_checkable

import numpy as np
import pytest
from jaxtyping import Float64

from inoc.backends.consistency import mean_loss, scored_updates, scores
from inoc.backends.protocols import (
    AdapterSettings,
    ChatTokenizer,
    Checkpoint,
    Scorer,
    ScoreRequest,
    Trainer,
    TrainingEvent,
    TrainingExample,
    TrainingJob,
    TrainingStep,
)
from inoc.backends.training import check_training, learning_rate
from inoc.errors import InocError
from inoc.testing.asking import encode

TEXTS = (
    "The sky is", " blue today.", "Say it:", " yes, sir!", "One two", " three four five", "A", "B", "Why?",
    " No reason.", "Paris is", " in France.", "Name a color.", " Green", "Please", " stop it now",
    "Two plus two", " is four.",
)  # fmt: skip
"""Contexts and answers, by turns."""


@runtime_checkable
class TrainingBackend(Trainer, Scorer, Protocol):
    """What `TrainerConformance` needs of a backend."""

    @property
    def tokenizer(self) -> ChatTokenizer: ...


class Trained:
    """All events of one training, checked."""

    def __init__(self, backend: Trainer, job: TrainingJob) -> None:
        self.job = job
        events = list(check_training(job, backend.train(job)))
        self.steps = [event for event in events if isinstance(event, TrainingStep)]
        self.checkpoints = {event.step: event for event in events if isinstance(event, Checkpoint)}

    @property
    def losses(self) -> Float64[np.ndarray, " update"]:
        """Of every update."""
        return np.array([step.loss for step in self.steps])

    @property
    def last(self) -> Checkpoint:
        """After the last update."""
        return self.checkpoints[len(self.job.batches)]

    def expected(self, backend: Scorer) -> Float64[np.ndarray, " update"]:
        """The loss of every update by the scores of the weights before it."""
        before = [self.checkpoints[k] if k else self.job.start for k in range(len(self.job.batches))]
        return np.array([mean_loss(batch) for batch in scored_updates(backend, self.job, before)])


def small_job(tokenizer: ChatTokenizer, directory: Path, adapter: AdapterSettings, updates: int = 6) -> TrainingJob:
    """A job of nine short examples, four an update, a checkpoint after each; weights are 0, 0.5, 1 and 2, and the last
    token of every example has none.

    Args:
        tokenizer: Writes the examples.
        directory: Where checkpoints and states are kept.
        adapter: Its settings.
        updates: How many.
    """
    examples: list[TrainingExample] = []
    for i, (context, answer) in enumerate(zip(TEXTS[::2], TEXTS[1::2], strict=True)):
        before, after = encode(tokenizer, context), encode(tokenizer, answer)
        weights = tuple((1.0, 0.5, 1.0, 2.0)[(i + place) % 4] for place in range(len(after)))
        examples.append(TrainingExample(f"e{i}", (*before, *after, before[0]), (0.0,) * len(before) + weights + (0.0,)))
    batches = tuple(tuple((4 * update + 5 * place) % 9 for place in range(4)) for update in range(updates))
    return TrainingJob(
        f"conformance-{directory.name}", tuple(examples), batches, adapter, learning_rate=0.01, warmup=2,
        weight_decay=0.01, accumulation=3, optimizer="adamw", seed=5, checkpoint_steps=tuple(range(1, updates)),
        resume_every=2, directory=str(directory),
    )  # fmt: skip


class TrainerConformance:
    """What is trained is what was asked, and every loss and checkpoint belongs to its update."""

    tolerance: ClassVar[float] = 1e-4
    """Largest difference, in nats, of a loss to that of the scores, and between two trainings of the same job."""
    adapter: ClassVar[AdapterSettings] = AdapterSettings(rank=4, alpha=8.0)
    """Settings that the backend can train."""
    any_weight: ClassVar[bool] = True
    """Weights other than 0 and 1 can be trained."""

    @pytest.fixture(scope="class")
    @classmethod
    def job(cls, backend: TrainingBackend, tmp_path_factory: pytest.TempPathFactory) -> TrainingJob:
        """What is trained; other tests change one thing of it."""
        job = small_job(backend.tokenizer, tmp_path_factory.mktemp("training") / "plain", cls.adapter)
        if cls.any_weight:
            return job
        plain = tuple(replace(e, weights=tuple(float(w > 0) for w in e.weights)) for e in job.examples)
        return replace(job, examples=plain)

    @pytest.fixture(scope="class")
    @classmethod
    def untrained(cls, backend: TrainingBackend, job: TrainingJob) -> list[float]:
        """Scores of the base model before anything was trained."""
        return score_examples(backend, job, None)

    @pytest.fixture(scope="class")
    @classmethod
    def trained(cls, backend: TrainingBackend, job: TrainingJob, untrained: list[float]) -> Trained:
        """The job, trained without a break."""
        return Trained(backend, job)

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, backend: TrainingBackend) -> Trainer | None:
        """A backend whose checkpoints this one can start from, to compare training options with; None skips that."""
        return None

    def elsewhere(self, job: TrainingJob, folder: Path, **changes: object) -> TrainingJob:
        """The job in another folder, with something changed."""
        return replace(job, directory=str(folder), id=f"conformance-{folder.name}", **changes)  # pyright: ignore[reportArgumentType]

    def same(self, found: Float64[np.ndarray, " update"], wanted: Float64[np.ndarray, " update"]) -> None:
        """Equal up to the tolerance."""
        np.testing.assert_allclose(found, wanted, atol=self.tolerance, rtol=0)

    def differ(self, found: Float64[np.ndarray, " update"], other: Float64[np.ndarray, " update"]) -> None:
        """Further apart, somewhere, than the tolerance allows."""
        assert float(np.abs(found - other).max()) > 3 * self.tolerance

    def test_every_update_and_checkpoint_in_order(self, trained: Trained) -> None:
        updates = list(range(1, len(trained.job.batches) + 1))
        assert [step.step for step in trained.steps] == updates
        assert sorted(trained.checkpoints) == updates

    def test_losses_are_those_of_the_scores(self, backend: TrainingBackend, trained: Trained) -> None:
        """Loss of update k + 1 = mean over its weights of -log p under the checkpoint of update k."""
        self.same(trained.losses, trained.expected(backend))

    def test_it_learns(self, backend: TrainingBackend, trained: Trained) -> None:
        base, last = scored_job(backend, trained.job, None), scored_job(backend, trained.job, trained.last)
        assert mean_loss(last) < mean_loss(base) - 3 * self.tolerance

    def test_the_schedule_is_the_jobs(self, backend: TrainingBackend, trained: Trained, untrained: list[float]) -> None:
        """Up from 0 over the warm-up, then down in a line: the first update changes nothing."""
        said = [step.learning_rate for step in trained.steps]
        np.testing.assert_allclose(said, [learning_rate(trained.job, k) for k in range(len(said))], rtol=1e-6)
        first = score_examples(backend, trained.job, trained.checkpoints[1])
        np.testing.assert_allclose(first, untrained, atol=self.tolerance, rtol=0)

    def test_the_rate_falls_towards_the_end(self, backend: TrainingBackend, job: TrainingJob, tmp_path: Path) -> None:
        """Update 2 of 2 and update 2 of 6 differ in nothing but their learning rate."""
        found: list[list[float]] = []
        for updates in (2, 6):
            changes = {"batches": job.batches[:updates], "checkpoint_steps": (1, 2), "warmup": 0}
            trained = Trained(backend, self.elsewhere(job, tmp_path / str(updates), **changes))
            found += [score_examples(backend, job, trained.checkpoints[k]) for k in (1, 2)]
        np.testing.assert_allclose(found[0], found[2], atol=self.tolerance, rtol=0)
        self.differ(np.array(found[1]), np.array(found[3]))

    def test_accumulation_changes_nothing(self, backend: TrainingBackend, trained: Trained, tmp_path: Path) -> None:
        """Micro-batches of one, one and two, against the whole batch at once."""
        whole = Trained(backend, self.elsewhere(trained.job, tmp_path / "whole", accumulation=1))
        self.same(whole.losses, trained.losses)

    def test_the_seed_decides(self, backend: TrainingBackend, trained: Trained, tmp_path: Path) -> None:
        again = Trained(backend, self.elsewhere(trained.job, tmp_path / "again"))
        self.same(again.losses, trained.losses)
        other = Trained(backend, self.elsewhere(trained.job, tmp_path / "other", seed=6))
        self.differ(other.losses, trained.losses)

    def test_it_starts_from_a_checkpoint(self, backend: TrainingBackend, trained: Trained, tmp_path: Path) -> None:
        more = Trained(backend, self.elsewhere(trained.job, tmp_path / "more", start=trained.last))
        assert sorted(more.checkpoints) == sorted(trained.checkpoints)
        self.same(more.losses, more.expected(backend))
        self.differ(more.losses[:1], trained.losses[:1])

    def test_it_resumes_without_losing_an_update(
        self, backend: TrainingBackend, trained: Trained, tmp_path: Path
    ) -> None:
        """Stopped after update 3, one after a state was kept; then called again, and once more when all is done."""
        job = self.elsewhere(trained.job, tmp_path / "cut")
        with closing(cast(Generator[TrainingEvent], backend.train(job))) as stream:
            for event in stream:
                if isinstance(event, TrainingStep) and event.step == 3:
                    break
        for _ in range(2):
            resumed = Trained(backend, job)
            assert [step.step for step in resumed.steps] == [step.step for step in trained.steps]
            self.same(resumed.losses, trained.losses)
            self.same(resumed.losses, resumed.expected(backend))

    def test_tokens_without_weight_teach_nothing(
        self, backend: TrainingBackend, trained: Trained, tmp_path: Path
    ) -> None:
        """The last token of every example has no weight: another one there changes nothing."""
        examples = tuple(replace(e, token_ids=(*e.token_ids[:-1], e.token_ids[1])) for e in trained.job.examples)
        other = Trained(backend, self.elsewhere(trained.job, tmp_path / "tail", examples=examples))
        self.same(other.losses, trained.losses)

    def test_the_base_model_is_untouched(
        self, backend: TrainingBackend, trained: Trained, untrained: list[float]
    ) -> None:
        for _ in range(2):
            after = score_examples(backend, trained.job, None)
            np.testing.assert_allclose(after, untrained, atol=self.tolerance, rtol=0)
            self.differ(np.array(score_examples(backend, trained.job, trained.last)), np.array(untrained))

    def test_only_the_checkpoints_asked_for_and_the_last(
        self, backend: TrainingBackend, job: TrainingJob, tmp_path: Path
    ) -> None:
        changes = {"batches": job.batches[:3], "checkpoint_steps": (1,)}
        assert sorted(Trained(backend, self.elsewhere(job, tmp_path / "few", **changes)).checkpoints) == [1, 3]

    def test_impossible_jobs_are_refused(self, backend: TrainingBackend, job: TrainingJob, tmp_path: Path) -> None:
        for changes in ({"batches": ()}, {"checkpoint_steps": (99,)}, {"batches": ((0,), ())}):
            with pytest.raises(InocError):
                list(backend.train(self.elsewhere(job, tmp_path / "bad", **changes)))

    @pytest.mark.parametrize("change", ["weight_decay", "max_grad_norm", "learning_rate", "warmup"])
    def test_options_against_a_reference(
        self, backend: TrainingBackend, reference: Trainer | None, trained: Trained, tmp_path: Path, change: str
    ) -> None:
        """Both continue one checkpoint of the reference, with an option far from the usual."""
        if reference is None:
            pytest.skip("no reference was given")
        start = Trained(reference, self.elsewhere(trained.job, tmp_path / "start")).last
        extreme = {"weight_decay": 5.0, "max_grad_norm": 0.01, "learning_rate": 0.03, "warmup": 5}[change]
        job = replace(trained.job, start=start, **{change: extreme})
        wanted = Trained(reference, self.elsewhere(job, tmp_path / "reference"))
        self.same(Trained(backend, self.elsewhere(job, tmp_path / "own")).losses, wanted.losses)


def scored_job(
    backend: Scorer, job: TrainingJob, checkpoint: Checkpoint | None
) -> list[tuple[TrainingExample, np.ndarray]]:
    """Every example of a job once, scored."""
    whole = replace(job, batches=(tuple(range(len(job.examples))),))
    return scored_updates(backend, whole, [checkpoint])[0]


def score_examples(backend: Scorer, job: TrainingJob, checkpoint: Checkpoint | None) -> list[float]:
    """The log-probability of every token of a job's examples, one after the other."""
    requests = [ScoreRequest(e.id, e.token_ids[:1], e.token_ids[1:], checkpoint) for e in job.examples]
    found = scores(backend, requests)
    return [float(value) for e in job.examples for value in found[e.id]]
