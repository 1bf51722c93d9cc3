"""Reading a run store. Opening reads one small file; everything else is read when asked for."""

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Concatenate, ParamSpec, TypeVar, cast

import numpy as np

from inoc.errors import BadInput, BrokenStore, IncompleteStore
from inoc.names import unknown
from inoc.store.arrays import ExampleArrays, StoredArray, TokenArrays, read_all
from inoc.store.files import NODE, node_attributes, read_node
from inoc.store.opening import read_root, settle, steady
from inoc.store.runs import RunInfo
from inoc.store.schema import COMPLETION_SETS, LOGPROB_GROUP, PENDING, Level, TraitInfo, Unit

if TYPE_CHECKING:
    import xarray as xr

P = ParamSpec("P")
T = TypeVar("T")


def open_store(path: str | Path) -> "Store":
    """Open a run store for reading.

    Raises:
        BadInput: nothing is there, or it is no run store.
        BrokenStore: the store is damaged or of a newer schema.
    """
    return Store(Path(path))


def _steadily(method: Callable[Concatenate["Store", P], T]) -> Callable[Concatenate["Store", P], T]:
    """The method tried again where a living writer was just changing what it reads."""

    @wraps(method)
    def read(self: "Store", *args: P.args, **kwargs: P.kwargs) -> T:
        return steady(self.path, lambda: method(self, *args, **kwargs))

    return read


class Store:
    """A run store, read-only. Properties are read on first use and kept.

    Data of a unit that is not marked done read as NaN. Every read verifies checksums and raises BrokenStore, naming
    group and variable, where one fails.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._root = read_root(path)
        settle(path)

    def __repr__(self) -> str:
        return f"<Store {self.path} sets {', '.join(self.completion_sets) or 'none'}>"

    @property
    def root(self) -> Mapping[str, object]:
        """All attributes of the root."""
        return self._root

    @property
    def schema_version(self) -> int:
        """The schema the store was written in."""
        return cast(int, self._root["schema_version"])

    @property
    def experiment(self) -> Mapping[str, object]:
        """The experiment as JSON values."""
        return cast(Mapping[str, object], self._root["experiment"])

    @property
    def identity(self) -> Mapping[str, object]:
        """The settings that change stored values."""
        return cast(Mapping[str, object], self._root["identity"])

    @property
    def provenance(self) -> Mapping[str, object]:
        """Versions and sources, free of host names and times."""
        return cast(Mapping[str, object], self._root["provenance"])

    @property
    def complete(self) -> bool:
        """Whether the last writer closed the store with nothing pending."""
        return bool(self._root["complete"])

    @property
    def traits(self) -> tuple[TraitInfo, ...]:
        rows = cast(list[dict[str, str]], self._root["traits"])
        return tuple(TraitInfo(row["name"], row["role"], row["family"]) for row in rows)

    @cached_property
    def tree(self) -> "xr.DataTree":
        """The whole store as plain xarray shows it (lazy): pending units are not masked here."""
        import xarray as xr

        return xr.open_datatree(  # pyright: ignore[reportUnknownMemberType]
            self.path, engine="zarr", chunks=None, consolidated=False
        )

    # groups

    def subgroups(self, group: str) -> tuple[str, ...]:
        """Names of the sets or runs below a group, in the order they were made known (then by name)."""
        place = self.path / group
        if not (place / NODE).is_file():
            return ()
        names = sorted(p.name for p in place.iterdir() if (p / NODE).is_file())
        order = cast(list[str], node_attributes(read_node(place, f"/{group}")).get("order", []))
        return tuple(sorted(names, key=lambda n: order.index(n) if n in order else len(order)))

    def has(self, where: str) -> bool:
        """Whether the group or array exists."""
        return (self.path / where / NODE).is_file()

    def attributes(self, where: str) -> dict[str, object]:
        """Attributes of a group."""
        return node_attributes(read_node(self.path / where, f"/{where}"))

    def read(self, where: str) -> np.ndarray:
        """A whole variable as a NumPy array (strings: object array).

        Raises:
            BrokenStore: the variable is missing or damaged.
        """
        try:
            return read_all(self.path, where)
        except FileNotFoundError:
            raise BrokenStore(
                f"/{where} is missing from {self.path}; `inoc validate` lists what is broken."
            ) from None

    def shape(self, where: str) -> tuple[int, ...]:
        """Shape of a variable, from its metadata alone."""
        return tuple(cast(list[int], read_node(self.path / where, f"/{where}")["shape"]))

    def _labels(self, where: str) -> tuple[str, ...]:
        return tuple(str(v) for v in self.read(where))

    # log-probabilities

    @property
    def completion_sets(self) -> tuple[str, ...]:
        """Sets that have log-probabilities at some level, "train" first."""
        found = {name for group in LOGPROB_GROUP.values() for name in self.subgroups(group)}
        known = [name for name in COMPLETION_SETS if name in found]
        return (*known, *sorted(found - set(known)))

    def levels(self, completion_set: str = "train") -> tuple[Level, ...]:
        """Which levels the set is stored at."""
        return tuple(level for level, group in LOGPROB_GROUP.items() if self.has(f"{group}/{completion_set}"))

    def _logprob_group(self, level: Level, completion_set: str) -> str:
        where = f"{LOGPROB_GROUP[level]}/{completion_set}"
        if not self.has(where):
            sets = ", ".join(self.completion_sets) or "none"
            raise IncompleteStore(
                f"{self.path} holds no {level}-level log-probabilities of the set {completion_set!r} "
                f"(sets: {sets}); `inoc score` or `inoc import` makes them."
            )
        return where

    def markers(self, level: Level, completion_set: str) -> tuple[bool, np.ndarray]:
        """(default done, done[prefix_type, prompt]) of a set."""
        where = self._logprob_group(level, completion_set)
        done = self.read(f"{where}/unit_crc") != PENDING
        return int(self.read(f"{where}/default_crc")) != PENDING, done

    @_steadily
    def token_logprobs(self, completion_set: str = "train") -> TokenArrays:
        """Handles on the token-level log-probabilities of a set; slicing reads.

        Raises:
            IncompleteStore: the set is not stored at token level.
        """
        where = self._logprob_group("token", completion_set)
        default_done, done = self.markers("token", completion_set)
        found = TokenArrays(
            StoredArray(self.path, f"{where}/default", np.asarray(default_done)),
            StoredArray(self.path, f"{where}/prefixed", done),
            self.read(f"{where}/row_size"),
            self._labels(f"{where}/prefix_type"),
            self._labels(f"{where}/prompt"),
            self._labels(f"{where}/example"),
            done,
            default_done,
        )
        _check_shape(where, found.prefixed.shape[:2], found)
        return found

    @_steadily
    def example_logprobs(self, completion_set: str = "train") -> ExampleArrays:
        """Per-example mean log-probabilities of a set, in memory; only what is stored at example level.

        Raises:
            IncompleteStore: the set is not stored at example level.
        """
        where = self._logprob_group("example", completion_set)
        default_done, done = self.markers("example", completion_set)
        found = ExampleArrays(
            StoredArray(self.path, f"{where}/default", np.asarray(default_done))[...],
            StoredArray(self.path, f"{where}/prefixed", done)[...],
            self._labels(f"{where}/prefix_type"),
            self._labels(f"{where}/prompt"),
            self._labels(f"{where}/example"),
            done,
            default_done,
        )
        _check_shape(where, found.prefixed.shape[:2], found)
        return found

    @_steadily
    def pending(self) -> tuple[Unit, ...]:
        """Units that are planned and not done, over all sets and levels."""
        units: list[Unit] = []
        for level, group in LOGPROB_GROUP.items():
            for name in self.subgroups(group):
                where = f"{group}/{name}"
                default_done, done = self.markers(level, name)
                if not default_done:
                    units.append(Unit(name, "none", ""))
                kinds, prompts = self._labels(f"{where}/prefix_type"), self._labels(f"{where}/prompt")
                units += [Unit(name, kinds[f], prompts[p]) for f, p in np.argwhere(~done)]
        return tuple(dict.fromkeys(units))

    @_steadily
    def pending_evaluations(self) -> tuple[tuple[str, int, str], ...]:
        """(run, step, condition) of every evaluation that is planned and not done."""
        found: list[tuple[str, int, str]] = []
        for name in self.subgroups("runs"):
            steps, conditions = self.read(f"runs/{name}/step"), self._labels(f"runs/{name}/condition")
            cells = np.argwhere(self.read(f"runs/{name}/unit_crc") == PENDING)
            found += [(name, int(steps[s]), conditions[c]) for s, c in cells]
        return tuple(found)

    # runs

    def run(self, name: str) -> RunInfo:
        """What was trained under that name.

        Raises:
            BadInput: The store has no such run; the message suggests the nearest.
        """
        if not self.has(f"runs/{name}"):
            raise BadInput(f"{self.path}: {unknown('run', name, self.subgroups('runs'))}")
        return RunInfo.stored(name, self.attributes(f"runs/{name}"))

    @cached_property
    @_steadily
    def runs(self) -> Mapping[str, RunInfo]:
        """All runs by name, in the order they were planned."""
        return {name: self.run(name) for name in self.subgroups("runs")}

    # everything else, as labelled xarray objects (inoc.store.views)

    @cached_property
    @_steadily
    def prompts(self) -> "xr.Dataset":
        """text, group, family, role by prompt key."""
        from inoc.store import views

        return views.prompts(self)

    @_steadily
    def completions(self, completion_set: str = "train") -> "xr.Dataset":
        """row_size(example), token_id(token), example_id, instruction, completion; only what is stored.

        Raises:
            IncompleteStore: the store holds no completions of that set.
        """
        from inoc.store import views

        return views.completions(self, completion_set)

    @cached_property
    @_steadily
    def elicitation(self) -> "xr.Dataset | None":
        """score(trait, prompt, instruction), baseline(trait, instruction), judge(trait); None if not measured."""
        from inoc.store import views

        return views.elicitation(self)

    @cached_property
    @_steadily
    def scores(self) -> "xr.Dataset | None":
        """score and coverage (run, step, condition, trait, instruction), judge(run, trait); None without runs."""
        from inoc.store import views

        return views.scores(self)

    @cached_property
    @_steadily
    def losses(self) -> "xr.Dataset | None":
        """loss and learning_rate (run, update); None without losses."""
        from inoc.store import views

        return views.losses(self)

    @cached_property
    @_steadily
    def rephrasings(self) -> Mapping[str, tuple[str, ...]]:
        """Pool of rewordings by prompt key; empty without pools."""
        if not self.has("rephrasings"):
            return {}
        pools: dict[str, list[str]] = {}
        for key, text in zip(
            self._labels("rephrasings/prompt"), self._labels("rephrasings/text"), strict=True
        ):
            pools.setdefault(key, []).append(text)
        return {key: tuple(texts) for key, texts in pools.items()}

    @cached_property
    @_steadily
    def self_perplexity(self) -> "xr.Dataset | None":
        """raw, context (prompt); None if not measured."""
        from inoc.store import views

        return views.by_prompt(self, "self_perplexity")

    @cached_property
    @_steadily
    def embeddings(self) -> "xr.Dataset | None":
        """prompt_vector(prompt, feature) and columns over the rephrasing pools; None if not made."""
        from inoc.store import views

        return views.by_prompt(self, "embeddings")


def _check_shape(where: str, shape: tuple[int, ...], found: TokenArrays | ExampleArrays) -> None:
    labels = (len(found.prefix_types), len(found.prompts))
    if not labels == found.done.shape == shape:
        raise BrokenStore(
            f"/{where}: labels, markers and data have different sizes; `inoc validate` lists them."
        )
