"""Submitting jobs: their files, their names, and a note on jobs that exist already."""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

from inoc.backends.manifest import Verifier
from inoc.backends.openweights import bundle, wire
from inoc.backends.openweights.command import FILES, PREPARE, SOURCE, Kind, image_of, install_line
from inoc.backends.openweights.follow import Event, failure, follow, leave
from inoc.backends.openweights.model import FOLDER, Model, check_size, zip_model
from inoc.backends.openweights.options import Options
from inoc.backends.openweights.record import Record
from inoc.backends.openweights.service import Row, Service
from inoc.backends.protocols import Checkpoint, ModelSpec
from inoc.errors import BadInput, BadResult
from inoc.hashing import bytes_hash, content_hash
from inoc.values import Sampling, Scalar

if TYPE_CHECKING:
    from inoc.backends.openweights.client import OpenWeights

log = logging.getLogger("inoc.backends.openweights")

DIGITS: Final = 32
"""Hex digits of the hashes in a job's parameters."""


@dataclass
class Desk:
    """Where jobs are submitted and awaited."""

    spec: ModelSpec
    options: Options
    model: Model
    service: Service
    reset: set[str] = field(default_factory=set[str])
    """Jobs that had failed and were submitted again; a process does so once."""
    trainings: dict[tuple[str, Record], Record] = field(default_factory=dict[tuple[str, Record], Record])
    """Trainings of this process by directory and content: their jobs."""
    open: set[str] = field(default_factory=set[str])
    """Jobs of this process that have not ended."""
    _seen: dict[str, object] = field(default_factory=dict[str, object])
    _folders: dict[str, tuple[str, Path]] = field(default_factory=dict[str, tuple[str, Path]])
    _zips: dict[str, bytes] = field(default_factory=dict[str, bytes])
    _verifier: Verifier = field(default_factory=Verifier)

    def setup(self, sampling: Sampling | None) -> wire.Json:
        """What the worker needs besides the requests."""
        model = {
            "id": self.model.on_worker,
            "revision": None if self.model.upload else self.spec.revision,
            "dtype": self.spec.dtype,
            "options": self.options.on_worker(),
        }
        return {"model": model, "sampling": None if sampling is None else asdict(sampling)}

    def base(self, sampling: Sampling | None) -> str:
        """A hash of everything but the requests that changes results: model, arithmetic, image, libraries, code."""
        parts = (self.setup(sampling), self.learned(), bytes_hash(self.source), self.choice())
        return content_hash(*parts, digits=DIGITS)

    def learned(self) -> Mapping[str, Scalar]:
        """The model and its arithmetic, as far as they change what a training learns."""
        return {
            "name": self.model.name,
            "on_worker": self.model.on_worker,
            "revision": self.spec.revision,
            "weights": self.model.weights,
            "dtype": self.spec.dtype,
            "quantization": self.options.quantization,
        }

    def choice(self) -> str:
        """How the user runs it: a hash of image, packages, the worker's options and the attempt."""
        options = self.options
        parts = (image_of(options), install_line(options), options.on_worker(), options.attempt)
        return content_hash(*parts, digits=DIGITS)

    @property
    def source(self) -> bytes:
        """inoc's source, as the worker runs it."""
        return self._zip(SOURCE, bundle.zip_source)

    def adapters(self, checkpoints: Iterable[Checkpoint | None]) -> dict[str, str]:
        """For every checkpoint's location the name of its folder on the worker, by content.

        BadInput for a location that is not a local folder, is too large to send, or has files that are not as they were
        written.
        """
        names: dict[str, str] = {}
        for checkpoint in checkpoints:
            if checkpoint is None or checkpoint.location is None or checkpoint.location in names:
                continue
            location = checkpoint.location
            if location not in self._folders:
                folder = Path(location)
                if not folder.is_dir():
                    raise BadInput(
                        f"the checkpoint '{location}' is not a local folder. Fix: use the backend that trained it."
                    )
                if checkpoint.adapter.kind == "full":
                    check_size(folder, self.options, f"the checkpoint '{location}'", "score it where it is")
                self._verifier.check(checkpoint)
                self._folders[location] = f"adapter-{bytes_hash(bundle.zip_folder(folder))[:24]}", folder
            names[location] = self._folders[location][0]
        return names

    def start(
        self,
        kind: Kind,
        files: Mapping[str, bytes],
        names: Mapping[str, str],
        *,
        requests: int,
        tokens: int,
        base: str,
        index: str | None = None,
        asks: bool = False,
    ) -> str:
        """Submit a job and return its id; the same content is the same job."""
        from inoc.backends.openweights.jobs import InocJob, Params

        mounted = {SOURCE: self.source, PREPARE: bundle.prepare_script(), **files}
        if self.model.upload is not None:
            mounted[f"{FOLDER}{FILES}"] = self._zip(FOLDER, lambda: zip_model(self.model))
        for location, name in names.items():
            mounted[f"{name}{FILES}"] = bundle.zip_folder(self._folders[location][1])
        params = Params(
            kind=kind, model=self.model.name, base=base, requests=requests, tokens=tokens, index=index, asks=asks,
            attempt=self.options.attempt,
        )  # fmt: skip

        def submit(ow: "OpenWeights") -> "tuple[str, Mapping[str, object] | None]":
            job = InocJob(ow, self.options, mounted, self.reset)
            return job.submit(params), job.before

        job, before = self.service.call(submit)
        if before is None or before["status"] != "completed":
            self.open.add(job)
        if before is None:
            what = "updates" if kind == "train" else "texts" if kind == "embed" else "requests"
            log.warning("submitted %s: %s %s, %s tokens", job, f"{requests:,}", what, f"{tokens:,}")
        elif before["status"] in ("failed", "canceled"):
            reason = str(failure(self.service, before)).splitlines()[-1].strip()
            log.warning("submitted %s again, which had ended: %s", job, reason)
        else:
            log.warning("found %s, %s", job, before["status"])
        return job

    def found(self, row: Row, what: str = "") -> None:
        """Log that an earlier job has what is requested; one that still waits gets the current hardware options."""
        log.warning("found %s, %s%s", row["id"], row["status"], what)
        if row["status"] == "pending":
            self.service.ask_for(row, self.options.hardware(), self.options.requires_vram_gb)

    def follow(self, jobs: Sequence[str]) -> Iterator[Event]:
        """Events of these jobs until they are completed; BadResult for a job that ran on a different model."""
        self.open.update(jobs)
        try:
            for event in follow(self.service, jobs, self.options, self.open):
                if event.kind == "begin":
                    self._check(event)
                else:
                    yield event
        except (KeyboardInterrupt, GeneratorExit):
            if self.open:
                leave(self.service, sorted(self.open), self.options)
            raise

    def _check(self, event: Event) -> None:
        """Every job loaded the same model, which is the local one as far as that is known."""
        found = event.data.get("identity")
        if not isinstance(found, dict):
            raise BadResult(f"the job {event.job} does not say which model it ran on.")
        identity = cast(Mapping[str, object], found)
        expected = self._seen.setdefault("weights", self.model.weights or identity.get("weights"))
        if identity.get("weights") != expected:
            raise BadResult(
                f"the job {event.job} ran on other weights than {self.model.name} has here or had in earlier jobs. "
                "Fix: name a revision, or correct the option worker_model."
            )
        if self._seen.setdefault("tokenizer", identity.get("tokenizer")) != identity.get("tokenizer"):
            log.warning("the tokenizer of the job %s differs from that of earlier jobs", event.job)

    def _zip(self, name: str, make: Callable[[], bytes]) -> bytes:
        if name not in self._zips:
            self._zips[name] = make()
        return self._zips[name]
