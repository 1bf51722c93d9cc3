"""Writing a run store so that a kill at any moment loses at most the unit at hand.

Log-probabilities: the data of a unit first, flushed to disk, then its CRC marker; marked implies right.
Everything else changes all at once (`files.transaction`). One writer at a time (`lock`).
"""

import os
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import cast

import numpy as np
from jaxtyping import Float, Int

from inoc.errors import BadInput, InocError, OtherSettings
from inoc.store import evaluations, tables
from inoc.store.files import (
    group_document,
    node_bytes,
    open_for_writing,
    step,
    transaction,
    write_atomic,
    NODE,
)
from inoc.store.lock import Lock
from inoc.store.run import Run, clear_staged
from inoc.store.schema import (
    CONDITIONS,
    GROUPS,
    LEVEL_DIM,
    LEVEL_DTYPE,
    LOGPROB_GROUP,
    PENDING,
    SCHEMA,
    SCHEMA_VERSION,
    Level,
    PromptInfo,
    TraitInfo,
    Unit,
    check_name,
)

COLUMN_BYTES = 1 << 27
MIN_TOKENS, MAX_TOKENS = 1 << 15, 1 << 18


def token_chunk(n_tokens: int, n_prompts: int) -> int:
    """Tokens per chunk: at most 1 MiB, less where a column over all prompts would pass 128 MiB, and even.

    One prompt's row is cut into equal parts, so that the last chunk is not mostly padding.
    """
    fair = COLUMN_BYTES // 4 // max(1, n_prompts)
    n_chunks = -(-n_tokens // max(MIN_TOKENS, min(MAX_TOKENS, fair)))
    return max(1, -(-n_tokens // max(1, n_chunks)))


def difference(old: Mapping[str, object], new: Mapping[str, object], prefix: str = "") -> list[str]:
    """Field by field, what differs: "field: stored … , now …"; nested mappings by dotted name."""
    lines: list[str] = []
    for key in sorted({*old, *new}):
        name = f"{prefix}{key}"
        if key not in old:
            lines.append(f"{name}: stored nothing, now {new[key]!r}")
        elif key not in new:
            lines.append(f"{name}: stored {old[key]!r}, now nothing")
        elif isinstance(old[key], Mapping) and isinstance(new[key], Mapping):
            lines += difference(
                cast(Mapping[str, object], old[key]), cast(Mapping[str, object], new[key]), f"{name}."
            )
        elif old[key] != new[key]:
            lines.append(f"{name}: stored {old[key]!r}, now {new[key]!r}")
    return lines


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Errors of the disk as one sentence."""
    try:
        yield
    except PermissionError as error:
        raise BadInput(
            f"{path} cannot be written ({error.strerror}); choose another place with --store."
        ) from error
    except OSError as error:
        if error.strerror is None:
            raise
        raise InocError(
            f"{path}: writing failed ({error.strerror}). What is marked done is safe; mend that and run the same "
            "command again."
        ) from error


def _flush(directory: Path) -> None:
    """Ask the disk to keep the files of a unit before its marker is written."""
    for file in directory.iterdir() if directory.is_dir() else [directory]:
        fd = os.open(file, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def checked(values: np.ndarray, dtype: str, where: str) -> np.ndarray:
    """Log-probabilities as stored: NaN is missing data, infinite or positive values are refused."""
    bad = np.flatnonzero(np.isinf(values) | (values > 0))
    if bad.size:
        raise BadInput(f"{where}: value {values.flat[bad[0]]} at index {bad[0]} is not a log-probability.")
    out = np.ascontiguousarray(values, dtype=np.dtype(dtype).newbyteorder("<"))
    out[np.isnan(out)] = np.nan  # one bit pattern for missing data
    return out


class RunWriter:
    """The one writer of a store. Use as a context manager; every method may be called again with the same content.

    `notes` are sentences for the user (a lock taken over, say).
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
    ) -> "RunWriter":
        """Create a store or go on with one.

        Args:
            path: the store's directory.
            identity: the settings that change stored values; must equal those of an existing store.
            experiment: the experiment as JSON values; replaces the stored one.
            provenance: versions and sources, free of host and time; an existing store keeps the first.
            traits: joined with those stored.

        Raises:
            OtherSettings: the stored identity (or a trait's role) differs; the message says field by field how.
            BadInput: another process writes the store, or the place cannot be written or is no store.
        """
        place = Path(path)
        with _writing(place):
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
        fresh = not self.path.exists() or not any(
            p for p in self.path.iterdir() if not p.name.startswith(".")
        )
        if fresh:
            self.path.mkdir(exist_ok=True)
            clear_staged(self.path)
            root: dict[str, object] = {
                "schema": SCHEMA,
                "schema_version": SCHEMA_VERSION,
                "experiment": dict(experiment),
                "identity": dict(identity),
                "provenance": dict(provenance),
                "traits": [t._asdict() for t in traits],
                "complete": False,
            }
            self._root = root
            self._write_root()
            return
        run = Run(self.path)
        clear_staged(self.path)
        lines = difference(run.identity, identity)
        if lines:
            raise OtherSettings(
                f"{self.path} was made with other settings; choose another --store or restore them:\n  "
                + "\n  ".join(lines)
            )
        self._root = {**run._root}  # pyright: ignore[reportPrivateUsage]
        known = {t.name: t for t in run.traits}
        for trait in traits:
            if known.setdefault(trait.name, trait) != trait:
                raise OtherSettings(
                    f"{self.path}: trait {trait.name} is stored as {known[trait.name]}, now {trait}."
                )
        changed = {
            "experiment": dict(experiment),
            "traits": [t._asdict() for t in known.values()],
        }
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
    def run(self) -> Run:
        """The store as it is now, for reading."""
        return Run(self.path)

    def pending(self) -> tuple[Unit, ...]:
        """Units planned and not done."""
        return self.run.pending()

    def close(self) -> None:
        """Note whether the store is complete and let go of it."""
        try:
            with _writing(self.path):
                run = self.run
                self._set_complete(not run.pending() and not run.pending_evaluations())
        finally:
            self._lock.release()

    def __enter__(self) -> "RunWriter":
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

        Raises:
            OtherSettings: the set is stored with other content.
            BadInput: lengths disagree or an example id comes twice.
        """
        with _writing(self.path):
            tables.put_completions(
                self.path, check_name(completion_set, "completion set"), example_ids, row_size, token_ids,
                instructions, completions,
            )  # fmt: skip

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

        Returns the units of this plan that are pending. `rephrasings`: which rewording each example of `mix` got will
        be stored too.
        """
        run, group = self.run, f"{LOGPROB_GROUP[level]}/{completion_set}"
        for key in prompts:
            if key not in set(str(k) for k in run.read("prompts/prompt")):
                raise BadInput(f"prompt {key!r} is to be scored but not among the store's prompts.")
        with _writing(self.path):
            if not run.has(group):
                self._set_complete(False)
                self._plan_new(run, completion_set, level, prefix_types, prompts, rephrasings)
            else:
                self._plan_more(run, group, level, prefix_types, prompts)
        wanted = {Unit(completion_set, f, p) for f in prefix_types for p in prompts} | {
            Unit(completion_set, "none", "")
        }
        return tuple(u for u in self.pending() if u in wanted)

    def _plan_new(
        self,
        run: Run,
        completion_set: str,
        level: Level,
        prefix_types: Sequence[str],
        prompts: Sequence[str],
        rephrasings: bool,
    ) -> None:
        source = f"completions/{completion_set}"
        if not run.has(source):
            raise BadInput(
                f"the completion set {completion_set!r} must be stored before its log-probabilities."
            )
        ids = run.read(f"{source}/example_id")
        group = f"{LOGPROB_GROUP[level]}/{completion_set}"
        specs = GROUPS[LOGPROB_GROUP[level]]
        with transaction(self.path) as change:
            tables.stage_parent(change, LOGPROB_GROUP[level], completion_set)
            change.group(group, {})
            change.array(f"{group}/example", ids, ("example",), dtype="string")
            change.array(f"{group}/prefix_type", list(prefix_types), ("prefix_type",), dtype="string")
            change.array(f"{group}/prompt", list(prompts), ("prompt",), dtype="string")
            size = len(ids)
            if level == "token":
                if not run.has(f"{source}/row_size"):
                    raise BadInput(f"the completion set {completion_set!r} has no token counts (row_size).")
                rows = run.read(f"{source}/row_size")
                change.array(
                    f"{group}/row_size", rows, ("example",), dtype="int64", attributes={"units": "token"}
                )
                size = int(rows.sum())
            chunk = token_chunk(size, len(prompts)) if level == "token" else max(1, size)
            dim, shape = LEVEL_DIM[level], (len(prefix_types), len(prompts))
            for name, full, dims, chunks in (
                ("default", (size,), (dim,), (chunk,)),
                ("prefixed", (*shape, size), ("prefix_type", "prompt", dim), (1, 1, chunk)),
            ):
                about = {"units": "nat", "long_name": specs[name].long_name}
                change.empty_array(
                    f"{group}/{name}", full, dims, dtype=LEVEL_DTYPE[level], chunks=chunks, attributes=about
                )
            change.empty_array(f"{group}/default_crc", (), (), dtype="int64")
            change.empty_array(
                f"{group}/unit_crc", shape, ("prefix_type", "prompt"), dtype="int64", chunks=(1, 1)
            )
            if rephrasings:
                change.empty_array(
                    f"{group}/rephrasing", (len(prompts), len(ids)), ("prompt", "example"),
                    dtype="int32", chunks=(1, max(1, len(ids))),
                )  # fmt: skip

    def _plan_more(
        self, run: Run, group: str, level: Level, prefix_types: Sequence[str], prompts: Sequence[str]
    ) -> None:
        old_kinds = [str(v) for v in run.read(f"{group}/prefix_type")]
        old_prompts = [str(v) for v in run.read(f"{group}/prompt")]
        kinds = list(dict.fromkeys([*old_kinds, *prefix_types]))
        keys = list(dict.fromkeys([*old_prompts, *prompts]))
        if kinds == old_kinds and keys == old_prompts:
            return
        self._set_complete(False)
        n = len(run.read(f"{group}/example"))
        size = int(run.read(f"{group}/row_size").sum()) if level == "token" else n
        with transaction(self.path) as change:
            change.array(f"{group}/prefix_type", kinds, ("prefix_type",), dtype="string")
            change.array(f"{group}/prompt", keys, ("prompt",), dtype="string")
            change.grow(f"{group}/prefixed", (len(kinds), len(keys), size))
            change.grow(f"{group}/unit_crc", (len(kinds), len(keys)))
            if run.has(f"{group}/rephrasing"):
                change.grow(f"{group}/rephrasing", (len(keys), n))

    def put_default(
        self, completion_set: str, logprobs: Float[np.ndarray, " cell"], level: Level = "token"
    ) -> None:
        """Store the log-probabilities without prefix: one per token, or one mean per example (nats)."""
        self.put_unit(Unit(completion_set, "none", ""), logprobs, level=level)

    def put_unit(
        self,
        unit: Unit,
        logprobs: Float[np.ndarray, " cell"],
        rephrasing: Int[np.ndarray, " example"] | None = None,
        level: Level = "token",
    ) -> None:
        """Store a planned unit: data, then its marker. NaN is missing data.

        Args:
            unit: completion set, prefix type, prompt.
            logprobs: one value per token (level "token") or per example, nats, in the order of the set.
            rephrasing: index into the prompt's pool of the rewording each example got (prefix type "mix").
            level: which level the values are of.

        Raises:
            BadInput: not planned, of wrong length, infinite or positive.
        """
        group = f"{LOGPROB_GROUP[level]}/{unit.completion_set}"
        what = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
        cell = self._cell(group, unit)
        variable, marker = (
            ("default", "default_crc") if unit.prefix_type == "none" else ("prefixed", "unit_crc")
        )
        with _writing(self.path):
            data = open_for_writing(self.path / group / variable)
            if logprobs.shape != (data.shape[-1],):
                raise BadInput(
                    f"{what}: {len(logprobs)} values, but the set has {data.shape[-1]} {LEVEL_DIM[level]}s."
                )
            values = checked(logprobs, LEVEL_DTYPE[level], what)
            crc = zlib.crc32(values.tobytes())
            picks = None
            if unit.prefix_type == "mix" and self.run.has(f"{group}/rephrasing"):
                picks = open_for_writing(self.path / group / "rephrasing")
                row = np.full(picks.shape[1], -1, "<i4") if rephrasing is None else rephrasing.astype("<i4")
                crc = zlib.crc32(row.tobytes(), crc)
            elif rephrasing is not None:
                raise BadInput(f"{what}: rephrasings given, but the plan does not store any for it.")
            marks = open_for_writing(self.path / group / marker)
            stored = int(cast(np.ndarray, marks[cell]))
            if stored == crc and self._intact(group, unit, level):
                return
            if stored != PENDING:
                marks[cell] = PENDING
                step("unmarked")
            if picks is not None:
                picks[cell[1], :] = row
                step("rephrasing")
            data[(*cell, slice(None))] = values
            step("data")
            _flush((self.path / group / variable).joinpath("c", *(str(i) for i in cell)))
            marks[cell] = crc
            step("marker")

    def _cell(self, group: str, unit: Unit) -> tuple[int, ...]:
        run = self.run
        if not run.has(group):
            raise BadInput(f"{unit}: the set is not planned.")
        if unit.prefix_type == "none":
            return ()
        kinds = [str(v) for v in run.read(f"{group}/prefix_type")]
        keys = [str(v) for v in run.read(f"{group}/prompt")]
        if unit.prefix_type not in kinds or unit.prompt not in keys:
            raise BadInput(f"{unit} is not planned.")
        return kinds.index(unit.prefix_type), keys.index(unit.prompt)

    def _intact(self, group: str, unit: Unit, level: Level) -> bool:
        from inoc.store.validate import unit_problem

        return unit_problem(self.run, group, self._cell(group, unit)) is None

    # everything else: each call changes its group all at once

    def put_prompts(self, prompts: Sequence[PromptInfo | Mapping[str, str]]) -> None:
        """Store prompts in the order given; those already stored and not named follow. A changed text is refused."""
        rows = [p if isinstance(p, PromptInfo) else PromptInfo(**p) for p in prompts]
        with _writing(self.path):
            tables.put_prompts(self.path, rows)

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
        """Scores (0-100) of the base model with each prompt, and without any (`baseline`). Rows of prompts already
        stored are replaced, others join; traits, instructions and judges must be those stored (OtherSettings)."""
        with _writing(self.path):
            tables.put_elicitation(
                self.path, prompts, traits, instructions, score, baseline, judges, coverage
            )  # fmt: skip

    def put_run(
        self,
        name: str,
        *,
        prompt: str,
        prefix_type: str,
        traits: Sequence[str],
        instructions: Sequence[str],
        steps: Sequence[int],
        conditions: Sequence[str] = CONDITIONS,
        judges: Mapping[str, str] | None = None,
        seed: int = -1,
        nominal_step: int = -1,
        settings: Mapping[str, object] | None = None,
        generations: bool = False,
    ) -> None:
        """Plan a run's evaluations; called again with more steps it grows, with anything else changed it is refused.

        Args:
            name: the run; becomes a directory name.
            prompt: key of its inoculation prompt; "" for the control run.
            prefix_type: "none" (control), "fixed" or "mix".
            traits, instructions, steps, conditions: labels of the evaluations.
            judges: identity of the judge by trait; "unknown" where not given.
            seed: training seed; -1 unknown.
            nominal_step: last full update; -1 unknown.
            settings: further settings as JSON values (learning rate, ...).
            generations: whether the answers' texts are stored too.
        """
        with _writing(self.path):
            evaluations.put_run(
                self.path, name, prompt=prompt, prefix_type=prefix_type, traits=traits, instructions=instructions,
                steps=steps, conditions=conditions, judges=judges, seed=seed, nominal_step=nominal_step,
                settings=settings, generations=generations,
            )  # fmt: skip

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
        """One planned evaluation: scores 0-100 (NaN = not judged) and coverage 0-1, then the marker.

        `judge` (by trait), where given, must equal what put_run stored (OtherSettings).
        """
        with _writing(self.path):
            evaluations.put_scores(self.path, run, step, condition, scores, coverage, judge, generations)

    def append_losses(
        self,
        run: str,
        updates: Int[np.ndarray, " update"],
        loss: Float[np.ndarray, " update"],
        learning_rate: Float[np.ndarray, " update"] | None = None,
    ) -> None:
        """Training losses (nats per weighted token) by update; an update already stored is replaced."""
        with _writing(self.path):
            evaluations.append_losses(self.path, run, updates, loss, learning_rate)

    def put_rephrasings(self, pools: Mapping[str, Sequence[str]]) -> None:
        """Rewordings by prompt key; a pool already stored under a key is replaced."""
        with _writing(self.path):
            tables.put_rephrasings(self.path, pools)

    def put_self_perplexity(
        self,
        prompts: Sequence[str],
        raw: Float[np.ndarray, " prompt"],
        context: Float[np.ndarray, " prompt"],
    ) -> None:
        """-logprob per token of each prompt text, alone and as the first words of a user turn (nats)."""
        with _writing(self.path):
            tables.put_by_prompt(self.path, "self_perplexity", prompts, {"raw": raw, "context": context})

    def put_embeddings(
        self,
        prompts: Sequence[str],
        vectors: Float[np.ndarray, "prompt feature"],
        columns: Mapping[str, Float[np.ndarray, " prompt"]] | None = None,
    ) -> None:
        """Unit vectors of the prompt texts, and columns over the rephrasing pools (`rephrase_mean`, ...)."""
        with _writing(self.path):
            tables.put_by_prompt(
                self.path, "embeddings", prompts, {"prompt_vector": vectors, **(columns or {})}
            )
