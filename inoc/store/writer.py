"""Writing a store so that a kill at any moment loses at most the unit being written.

Log-probabilities and scores: data first, flushed to disk, then the CRC marker; marked implies right (`marks`).
Everything else changes all at once (`files.transaction`). One writer at a time (`lock`).
"""

import errno
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType

import numpy as np
from jaxtyping import Float, Int

from inoc.atomic import flush, write_atomic
from inoc.errors import BadInput, InocError, OtherSettings
from inoc.store import evaluations, tables, units
from inoc.store.files import COMMIT, NODE, STAGED, finish_commit, group_document, node_bytes, step
from inoc.store.fingerprint import difference
from inoc.store.lock import Lock
from inoc.store.opening import clear_staged, read_root
from inoc.store.reader import Reader
from inoc.store.runs import RunPlan
from inoc.store.schema import SCHEMA, SCHEMA_VERSION, Level, PromptInfo, TraitInfo, Unit, check_name
from inoc.store.store import Store


@contextmanager
def writing(path: Path) -> Generator[Reader]:
    """The store to change, as it is now; errors of the disk become one sentence."""
    with disk_errors(path):
        yield Reader(path)


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
        traits: Sequence[TraitInfo] = (),
    ) -> "StoreWriter":
        """Create a store, or open one to add to it.

        Args:
            path: The store's directory.
            identity: The settings that change stored values; must equal those of an existing store.
            experiment: The experiment as JSON values; replaces the stored one.
            provenance: Versions and sources, free of host and time; an existing store keeps the first.
            traits: Joined with those stored.

        Returns:
            The writer, which holds the store's lock until it is closed.

        Raises:
            OtherSettings: The stored identity (or a trait's role) differs; the message says field by field how.
            BadInput: Another process writes the store, or the place cannot be written or is not a store.
        """
        place = Path(path)
        with disk_errors(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            lock = Lock(place)
            try:
                writer = cls(place, lock)
                writer._start(identity, experiment, provenance, traits)
            except BaseException:
                lock.release()
                raise
        return writer

    def _start(
        self,
        identity: Mapping[str, object],
        experiment: Mapping[str, object],
        provenance: Mapping[str, object],
        traits: Sequence[TraitInfo],
    ) -> None:
        left = {p.name for p in self.path.iterdir()} if self.path.exists() else set[str]()
        if NODE in left:
            read_root(self.path)  # before anything is touched: it must be an inoc store
            if COMMIT in left:
                finish_commit(self.path)
        if NODE in left or left <= {STAGED, f"{NODE}.partial"}:
            clear_staged(self.path)
        if NODE not in left and left <= {STAGED, f"{NODE}.partial"}:
            self.path.mkdir(exist_ok=True)
            flush(self.path.parent)
            self._root: dict[str, object] = {
                "schema": SCHEMA,
                "schema_version": SCHEMA_VERSION,
                "experiment": dict(experiment),
                "identity": dict(identity),
                "provenance": dict(provenance),
                "traits": [t._asdict() for t in traits],
                "complete": False,
            }
            self._write_root()
            return
        store = Reader(self.path)
        lines = difference(store.identity, identity)
        if lines:
            raise OtherSettings(
                f"{self.path} was made with other settings. Fix: choose another --store or restore them:\n  "
                + "\n  ".join(lines)
            )
        self._root = dict(store.root)
        known = {t.name: t for t in store.traits}
        for trait in traits:
            if known.setdefault(trait.name, trait) != trait:
                raise OtherSettings(
                    f"{self.path}: trait {trait.name} is stored as {known[trait.name]}, now {trait}. "
                    "Fix: choose another store."
                )
        changed = {"experiment": dict(experiment), "traits": [t._asdict() for t in known.values()]}
        if any(self._root[k] != v for k, v in changed.items()):
            self._root.update(changed)
            self._write_root()

    def _write_root(self) -> None:
        write_atomic(self.path / NODE, node_bytes(group_document(self._root)))
        step("root")

    def _set_complete(self, value: bool) -> None:
        if self._root["complete"] != value:
            self._root["complete"] = value
            self._write_root()

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
                self._set_complete(not store.pending() and not store.pending_evaluations())
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

    def put_completions(
        self,
        completion_set: str,
        *,
        example_ids: Sequence[str],
        row_size: Int[np.ndarray, " example"] | None = None,
        token_ids: Int[np.ndarray, " token"] | None = None,
        instructions: Sequence[str] | None = None,
        completions: Sequence[str] | None = None,
    ) -> None:
        """Store a completion set as contiguous ragged rows. What is unknown is left out.

        Args:
            completion_set: "train", "control", "positive", "negative" or a name of the user's.
            example_ids: Unique in the set.
            row_size: Tokens of each example.
            token_ids: Token ids of all examples, one after another.
            instructions: Texts, one per example.
            completions: Texts, one per example.

        Raises:
            OtherSettings: The set is stored with other content.
            BadInput: Lengths disagree or an example id comes twice.
        """
        with writing(self.path) as store:
            name = check_name(completion_set, "completion set")
            columns = {"row_size": row_size, "instruction": instructions, "completion": completions}
            tables.put_completions(store, name, example_ids, columns, token_ids)

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
                self._set_complete(False)
                units.plan(store, completion_set, level, prefix_types, prompts, rephrasings)
        wanted = {Unit(completion_set, f, p) for f in prefix_types for p in prompts}
        wanted.add(Unit.default(completion_set))
        return tuple(u for u in self.pending() if u in wanted)

    def put_default(self, completion_set: str, logprobs: Float[np.ndarray, " cell"], level: Level = "token") -> None:
        """Store the log-probabilities without prefix: one per token, or one mean per example (nats)."""
        self.put_unit(Unit.default(completion_set), logprobs, level=level)

    def put_unit(
        self,
        unit: Unit,
        logprobs: Float[np.ndarray, " cell"],
        rephrasing: Int[np.ndarray, " example"] | None = None,
        level: Level = "token",
    ) -> None:
        """Store a planned unit: data, then its marker. NaN is missing data.

        Args:
            unit: Completion set, prefix type, prompt.
            logprobs: One value per token (level "token") or per example, nats, in the order of the set.
            rephrasing: Index into the prompt's pool of the rephrasing that each example got (prefix type "mix").
            level: The level of the values.

        Raises:
            BadInput: The unit is not planned, or the values are of wrong length, infinite or positive.
        """
        with writing(self.path) as store:
            units.put_unit(store, unit, logprobs, rephrasing, level)

    def verify(self) -> tuple[Unit, ...]:
        """Re-read every unit marked done; those whose data are damaged become pending again.

        Returns:
            The damaged units.
        """
        with writing(self.path) as store:
            broken = units.reset_broken(store)
            if broken:
                self._set_complete(False)
        return broken

    # everything else: each call changes its group all at once

    def put_prompts(self, prompts: Sequence[PromptInfo | Mapping[str, str]]) -> None:
        """Store prompts in the order given; those already stored and not named follow.

        Args:
            prompts: Key, text, group, family and role of each.

        Raises:
            OtherSettings: A prompt is stored with another text.
            BadInput: A key comes twice.
        """
        rows = [p if isinstance(p, PromptInfo) else PromptInfo(**p) for p in prompts]
        with writing(self.path) as store:
            tables.put_prompts(store, rows)

    def put_elicitation(
        self,
        *,
        prompts: Sequence[str],
        traits: Sequence[str],
        instructions: Sequence[str],
        score: Float[np.ndarray, "trait prompt instruction"],
        judges: Sequence[str],
        baseline: Float[np.ndarray, "trait instruction"] | None = None,
        coverage: Float[np.ndarray, "trait prompt instruction"] | None = None,
    ) -> None:
        """Store the base model's scores with each prompt; rows of prompts already stored are replaced.

        Args:
            prompts, traits, instructions: Labels of the scores.
            score: 0-100; NaN = not judged.
            judges: Identity of the judge by trait, in the order of `traits`.
            baseline: Scores without any prompt, 0-100.
            coverage: Probability mass of valid judge answers, 0-1.

        Raises:
            OtherSettings: Traits, instructions or judges differ from those stored.
        """
        with writing(self.path) as store:
            tables.put_elicitation(store, prompts, traits, instructions, score, baseline, judges, coverage)

    def put_run(self, plan: RunPlan) -> None:
        """Make room for a run's evaluations; called again with more steps it grows.

        Args:
            plan: The run and the labels of its evaluations.

        Raises:
            OtherSettings: The run is stored with other labels, judges or settings.
        """
        with writing(self.path) as store:
            evaluations.put_run(store, plan)

    def put_scores(
        self,
        run: str,
        step: int,
        condition: str,
        scores: Float[np.ndarray, "trait instruction"],
        coverage: Float[np.ndarray, "trait instruction"] | None = None,
        judge: Mapping[str, str] | None = None,
        generations: Sequence[str] | None = None,
    ) -> None:
        """Store a planned evaluation: data, then its marker.

        Args:
            run, step, condition: Which evaluation.
            scores: 0-100; NaN = not judged.
            coverage: Probability mass of valid judge answers, 0-1.
            judge: Identity of the judge by trait, where known.
            generations: The answers, one per instruction, where the run is planned with them.

        Raises:
            OtherSettings: A judge differs from the one put_run stored.
            BadInput: The evaluation is not planned, or shapes disagree.
        """
        with writing(self.path) as store:
            evaluations.put_scores(store, run, step, condition, scores, coverage, judge, generations)

    def append_losses(
        self,
        run: str,
        updates: Int[np.ndarray, " update"],
        loss: Float[np.ndarray, " update"],
        learning_rate: Float[np.ndarray, " update"] | None = None,
    ) -> None:
        """Store training losses; an update already stored is replaced.

        Args:
            run: A planned run.
            updates: Numbers of the updates.
            loss: Nats per weighted token.
            learning_rate: The rate of each update, where known.
        """
        with writing(self.path) as store:
            evaluations.append_losses(store, run, updates, loss, learning_rate)

    def put_rephrasings(self, pools: Mapping[str, Sequence[str]]) -> None:
        """Store rephrasing pools by prompt key; a pool already stored under a key is replaced."""
        with writing(self.path) as store:
            tables.put_rephrasings(store, pools)

    def put_self_perplexity(
        self, prompts: Sequence[str], raw: Float[np.ndarray, " prompt"], context: Float[np.ndarray, " prompt"]
    ) -> None:
        """-logprob per token of each prompt text, alone and as the first words of a user turn (nats)."""
        with writing(self.path) as store:
            tables.put_by_prompt(store, "self_perplexity", prompts, {"raw": raw, "context": context})

    def put_embeddings(
        self,
        prompts: Sequence[str],
        vectors: Float[np.ndarray, "prompt feature"],
        columns: Mapping[str, Float[np.ndarray, " prompt"]] | None = None,
    ) -> None:
        """Unit vectors of the prompt texts, and columns over the rephrasing pools (`rephrase_mean`, ...)."""
        with writing(self.path) as store:
            tables.put_by_prompt(store, "embeddings", prompts, {"prompt_vector": vectors, **(columns or {})})
