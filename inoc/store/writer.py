"""Writing a store so that a kill at any moment loses at most the unit being written.

Log-probabilities and scores: data first, flushed to disk, then the CRC marker; marked implies right (`marks`).
Everything else changes all at once (`files.transaction`). One writer at a time (`lock`).
"""

import errno
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from types import TracebackType
from typing import Concatenate, ParamSpec, TypeVar, cast

import numpy as np
from jaxtyping import Float

from inoc.atomic import flush, write_atomic
from inoc.errors import BadInput, InocError, OtherSettings
from inoc.store import evaluations, judgments, marks, prefills, probes, tables, units, v1
from inoc.store.change import STAGED, clear_staged, finish_interrupted
from inoc.store.files import NODE, group_document, node_bytes, read_node, step
from inoc.store.fingerprint import difference, refuse
from inoc.store.history import HISTORY, Entry, accepted
from inoc.store.lock import Lock
from inoc.store.opening import read_root
from inoc.store.reader import Reader
from inoc.store.schema import SCHEMA, SCHEMA_VERSION, Level, ScoreInfo, Unit
from inoc.store.store import Store

P = ParamSpec("P")
T = TypeVar("T")


@contextmanager
def writing(path: Path) -> Generator[Reader]:
    """The store to change, as it is now; errors of the disk become one sentence."""
    with disk_errors(path):
        yield Reader(path)


def _writes(put: Callable[Concatenate[Reader, P], T]) -> "Callable[Concatenate[StoreWriter, P], T]":
    """The function as a method of the writer."""

    @wraps(put)
    def method(self: "StoreWriter", *args: P.args, **kwargs: P.kwargs) -> T:
        with writing(self.path) as store:
            return put(store, *args, **kwargs)

    return method


_NOT_WRITABLE = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST}


@contextmanager
def disk_errors(path: Path) -> Generator[None]:
    """Errors of the disk as one sentence."""
    try:
        yield
    except OSError as error:
        if error.errno in _NOT_WRITABLE:
            raise BadInput(
                f"{path} cannot be written ({error.strerror}). Fix: choose another place with --store."
            ) from error
        if error.strerror is None:
            raise
        raise InocError(
            f"{path}: writing failed ({error.strerror}). What is marked done is safe. "
            "Fix: remove the cause and run the same command again."
        ) from error


class StoreWriter:
    """The one writer of a store. Use as a context manager; every method may be called again with the same content.

    Args:
        path: The store's directory.
        lock: The lock it holds.

    Attributes:
        notes: Sentences for the user (a lock taken over, say).
    """

    def __init__(self, path: Path, lock: Lock) -> None:
        self.path = path
        self.notes: list[str] = []
        self._lock = lock
        if lock.taken_over:
            self.notes.append(
                f"{path}: took over the lock that process {lock.taken_over.pid} left behind when it ended."
            )

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        identity: Mapping[str, object],
        experiment: Mapping[str, object],
        provenance: Mapping[str, object],
        traits: Sequence[ScoreInfo] = (),
        command: str = "",
        history: Sequence[Entry] = (),
    ) -> "StoreWriter":
        """Create a store, or open one to add to it.

        Args:
            path: The store's directory.
            identity: The settings that change stored values; must equal those of an existing store.
            experiment: The experiment as JSON values; replaces the stored one, and the history says how.
            provenance: Versions and sources, free of host and time; an existing store keeps the first.
            traits: Joined with those stored.
            command: Who writes, for the history: "inoc score", say.
            history: That of a new store which takes the place of others.

        Returns:
            The writer, which holds the store's lock until it is closed.

        Raises:
            OtherSettings: The stored identity (or a trait's role) differs; the message says field by field how.
            BadInput: Another process writes the store, or the place cannot be written or is not a store.
        """
        place = Path(path).resolve()
        with disk_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(place)
            try:
                writer = cls(place, lock)
                writer._start(identity, experiment, provenance, traits, command, history)
            except BaseException:
                lock.release()
                raise
        return writer

    def _start(
        self,
        identity: Mapping[str, object],
        experiment: Mapping[str, object],
        provenance: Mapping[str, object],
        traits: Sequence[ScoreInfo],
        command: str,
        history: Sequence[Entry],
    ) -> None:
        left = {p.name for p in self.path.iterdir()} if self.path.exists() else set[str]()
        if NODE in left:
            if v1.is_v1(read_root(self.path)):  # before anything is touched
                raise BadInput(
                    f"{self.path} has schema version {v1.VERSION}, which is read but not written. "
                    f"Fix: run `inoc upgrade {self.path}`, then the same command again."
                )
            finish_interrupted(self.path)
        if NODE in left or left <= {STAGED, f"{NODE}.partial"}:
            clear_staged(self.path)
        if NODE not in left and left <= {STAGED, f"{NODE}.partial"}:
            self.path.mkdir(exist_ok=True)
            flush(self.path.parent)
            root: dict[str, object] = {
                "schema": SCHEMA,
                "schema_version": SCHEMA_VERSION,
                "experiment": dict(experiment),
                "identity": dict(identity),
                "provenance": dict(provenance),
                "traits": [t.stored for t in traits],
                "complete": False,
                HISTORY: list(history) or accepted({}, experiment, command),
            }
            write_atomic(self.path / NODE, node_bytes(group_document(root)))
            step("root")
            return
        store = Reader(self.path)
        refuse(self.path, difference(store.identity, identity))
        known = {t.name: t for t in store.measured}
        for trait in traits:
            old = known.setdefault(trait.name, trait)
            known[trait.name] = trait._replace(judge=trait.judge or old.judge)
            if (old.role, old.family) != (trait.role, trait.family):
                raise OtherSettings(
                    f"{self.path}: score {trait.name} is stored with role {old.role!r}, family {old.family!r}; now "
                    f"{trait.role!r}, {trait.family!r}. Fix: choose another store."
                )
        self._change_root(
            {
                "experiment": dict(experiment),
                "traits": [t.stored for t in known.values()],
                HISTORY: accepted(store.root, experiment, command),
            }
        )

    def _change_root(self, changed: Mapping[str, object]) -> None:
        """Change attributes of the root; nothing is written where they are so already."""
        document = read_node(self.path, str(self.path))
        attributes = cast(dict[str, object], document["attributes"])
        if any(attributes.get(name) != value for name, value in changed.items()):
            attributes.update(changed)
            write_atomic(self.path / NODE, node_bytes(document))
            step("root")

    def set_judges(self, identities: Mapping[str, str]) -> None:
        """From now on these judges count, by score; what others said stays stored."""
        scores = [s._replace(judge=identities.get(s.name, s.judge)) for s in Reader(self.path).measured]
        self._change_root({"traits": [score.stored for score in scores]})

    @property
    def store(self) -> Store:
        """The store as it is now, for reading."""
        return Store(self.path)

    def pending(self) -> tuple[Unit, ...]:
        """Units planned and not done."""
        return Reader(self.path).pending()

    def close(self) -> None:
        """Note whether the store is complete and release it."""
        try:
            with writing(self.path) as store:
                marks.settle(store)
                pending = store.pending() or store.pending_evaluations() or store.pending_probes()
                self._change_root({"complete": not pending})
        finally:
            self._lock.release()

    def __enter__(self) -> "StoreWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._lock.release()

    # log-probabilities

    put_completions = _writes(tables.put_completions)

    def plan(
        self,
        completion_set: str,
        *,
        prefix_types: Sequence[str],
        prompts: Sequence[str],
        level: Level = "token",
        rephrasings: bool = False,
    ) -> tuple[Unit, ...]:
        """Make room for the units of a stored completion set; adding prefix types or prompts extends it.

        Args:
            completion_set: A stored set.
            prefix_types: "fixed", "mix" or both.
            prompts: Keys of stored prompts.
            level: One value per token, or one mean per example.
            rephrasings: Whether the rephrasing that each example of `mix` got is stored too.

        Returns:
            The units of this plan that are pending.

        Raises:
            BadInput: A prompt or the completion set is not stored.
        """
        with writing(self.path) as store:
            if units.unplanned(store, completion_set, level, prefix_types, prompts):
                units.plan(store, completion_set, level, prefix_types, prompts, rephrasings)
        wanted = {Unit(completion_set, f, p) for f in prefix_types for p in prompts}
        wanted.add(Unit.default(completion_set))
        return tuple(u for u in self.pending() if u in wanted)

    def put_default(self, completion_set: str, logprobs: Float[np.ndarray, " cell"], level: Level = "token") -> None:
        """Store the log-probabilities without prefix: one per token, or one mean per example (nats)."""
        self.put_unit(Unit.default(completion_set), logprobs, level=level)

    put_unit = _writes(units.put_unit)

    def verify(self) -> tuple[Unit, ...]:
        """Re-read every unit marked done; those whose data are damaged become pending again.

        Returns:
            The damaged units.
        """
        with writing(self.path) as store:
            return units.reset_broken(store)

    # everything else: each call changes its group all at once

    put_prompts = _writes(tables.put_prompts)
    put_elicitation = _writes(tables.put_elicitation)
    put_run = _writes(evaluations.put_run)
    put_scores = _writes(evaluations.put_scores)
    put_judgments = _writes(judgments.put_judgments)
    append_losses = _writes(evaluations.append_losses)
    put_prefill_counts = _writes(prefills.put_prefill_counts)
    plan_probe = _writes(probes.plan_probe)
    put_probe = _writes(probes.put_probe)
    put_rephrasings = _writes(tables.put_rephrasings)
    put_self_perplexity = _writes(tables.put_self_perplexity)
    put_embeddings = _writes(tables.put_embeddings)
