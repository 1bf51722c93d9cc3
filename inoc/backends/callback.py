"""`CallbackTrainer`: a `train` for libraries that own the loop of updates and call back after each."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from queue import Queue
from typing import TYPE_CHECKING

from inoc.backends import training_folder as folder
from inoc.backends.manifest import Manifest
from inoc.backends.protocols import TrainingEvent, TrainingJob, TrainingStep
from inoc.backends.training import check_job
from inoc.values import Scalar


class Stopped(Exception):
    """Nobody listens any more: raised in the library's loop by `Recorder.update`, and not an error."""


class Recorder:
    """What the loop of updates tells, and what it resumes from.

    Args:
        job: What is trained.
        manifest: What its folder says of it.

    Attributes:
        state: The folder of the newest state; None for a training from the start.
        done: Updates before that state.
    """

    def __init__(self, job: TrainingJob, manifest: Manifest) -> None:
        self.job, self.manifest = job, manifest
        found = folder.newest_state(Path(job.directory), manifest)
        self.state = None if found is None else found.folder
        self.steps = [] if found is None else found.steps
        self.done = len(self.steps)
        self.keep = frozenset({*job.checkpoint_steps, len(job.batches)} - {0})
        self.told: Queue[TrainingEvent | BaseException | None] = Queue()
        self.heard = threading.Semaphore(0)
        self.stopped = False

    def update(self, step: TrainingStep, save: Callable[[Path], None], state: Callable[[Path], None]) -> None:
        """Tell of an update that is done; returns when the consumer asks for the next.

        Args:
            step: Update, loss before it, learning rate and gradient norm; NaN for what is not known.
            save: Writes the weights into an empty folder; called where a checkpoint is kept.
            state: Writes what the next update depends on into an empty folder; called where a state is kept.

        Raises:
            Stopped: The training was abandoned; let it end the loop.
        """
        self.steps.append(step)
        if step.step in self.keep:
            folder.save_checkpoint(self.job, step.step, save, self.manifest)
        if step.step % self.job.resume_every == 0 or step.step == len(self.job.batches):
            folder.keep_state(Path(self.job.directory), self.steps, state, self.manifest)
        self.tell(step)
        if step.step in self.keep:
            self.tell(folder.stored_checkpoint(self.job, step.step, self.manifest))

    def tell(self, event: TrainingEvent) -> None:
        """Hand one event over and wait until it was taken: the model is never used by two threads at a time."""
        self.told.put(event)
        self.heard.acquire()
        if self.stopped:
            raise Stopped


class CallbackTrainer(ABC):
    """Queue, replay, checkpoints and resuming for a backend whose library owns the loop; you write `run`.

    Mix it into a backend: `class MyBackend(CallbackTrainer, LocalBackend)`.
    """

    if TYPE_CHECKING:  # of the backend that it is mixed into

        @property
        def context_length(self) -> int: ...
        def identity(self) -> Mapping[str, Scalar]: ...

    @abstractmethod
    def run(self, job: TrainingJob, recorder: Recorder) -> None:
        """Train to the end from `recorder.state`, else from `job.start`, else from the base model; call
        `recorder.update` after every update from `recorder.done` + 1 on."""

    def train(self, job: TrainingJob) -> Iterator[TrainingEvent]:
        """All events of a job: those of an earlier, interrupted call first, then new ones as they happen.

        Raises:
            BadInput: A job that cannot be trained, or a damaged state.
            OtherSettings: The job's directory belongs to another training.
        """
        check_job(job, self.context_length)
        manifest = folder.describe(job, self.identity(), job.optimizer)
        folder.claim(Path(job.directory), manifest)
        recorder = Recorder(job, manifest)
        for step in tuple(recorder.steps):
            yield step
            if step.step in recorder.keep:
                yield folder.stored_checkpoint(job, step.step, manifest)
        if recorder.done < len(job.batches):
            yield from self._follow(job, recorder)

    def _follow(self, job: TrainingJob, recorder: Recorder) -> Iterator[TrainingEvent]:
        def work() -> None:
            try:
                self.run(job, recorder)
            except Stopped:
                pass
            except BaseException as error:
                recorder.told.put(error)
            recorder.told.put(None)

        thread = threading.Thread(target=work, name=f"training {job.id}", daemon=True)
        thread.start()
        try:
            while (event := recorder.told.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
                recorder.heard.release()
        finally:
            recorder.stopped = True
            recorder.heard.release()
            thread.join()
