"""The bytes and arrays of one store, read-only: what writing, validating and the labeled views rest on."""

from collections.abc import Callable, Mapping
from functools import cached_property, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

import numpy as np
from jaxtyping import Bool

from inoc.errors import BadInput, BrokenStore, IncompleteStore
from inoc.names import unknown
from inoc.store.arrays import Axes, ExampleArrays, StoredArray, TokenArrays
from inoc.store.files import NODE, node_attributes, read_node
from inoc.store.opening import read_root, settle, steady
from inoc.store.runs import RunInfo
from inoc.store.schema import COMPLETION_SETS, LOGPROB_GROUP, PENDING, Level, TraitInfo, Unit, known_first

R = TypeVar("R", bound="Reader")
P = ParamSpec("P")
T = TypeVar("T")


def steadily(method: Callable[Concatenate[R, P], T]) -> Callable[Concatenate[R, P], T]:
    """The method, tried again where a living writer was just changing what it reads."""

    @wraps(method)
    def read(self: R, *args: P.args, **kwargs: P.kwargs) -> T:
        return steady(self.path, lambda: method(self, *args, **kwargs))

    return read


class Reader:
    """A store as groups, attributes and arrays. The root and `rephrasings` are kept; all else is read
    when asked for.

    Data of a unit that is not marked done read as NaN. Every read verifies checksums and raises BrokenStore, naming
    group and variable, where one fails.

    Attributes:
        path: The store's directory.
        root: The root's attributes.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.root: Mapping[str, object] = read_root(path)
        settle(path)

    @property
    def schema_version(self) -> int:
        """The schema the store was written in."""
        return cast(int, self.root["schema_version"])

    @property
    def experiment(self) -> Mapping[str, object]:
        """The experiment as JSON values."""
        return cast(Mapping[str, object], self.root["experiment"])

    @property
    def identity(self) -> Mapping[str, object]:
        """The settings that change stored values; earlier versions named the recipe "alignment"."""
        stored = cast(Mapping[str, object], self.root["identity"])
        return {"recipe" if name == "alignment" else name: value for name, value in stored.items()}

    @property
    def provenance(self) -> Mapping[str, object]:
        """Versions and sources, free of host names and times."""
        return cast(Mapping[str, object], self.root["provenance"])

    @property
    def complete(self) -> bool:
        """Whether the last writer closed the store with nothing pending."""
        return bool(self.root["complete"])

    @property
    def traits(self) -> tuple[TraitInfo, ...]:
        """The judged traits, the positive one first."""
        rows = cast(list[dict[str, str]], self.root["traits"])
        return tuple(TraitInfo(row["name"], row["role"], row["family"]) for row in rows)

    # groups and variables; `where` is a path inside the store, such as "runs/german/score"

    def has(self, where: str) -> bool:
        """Whether the group or variable exists."""
        return (self.path / where / NODE).is_file()

    def subgroups(self, group: str) -> tuple[str, ...]:
        """Names of the sets or runs of a group, in the order they were made (then by name)."""
        if not self.has(group):
            return ()
        names = sorted(p.name for p in (self.path / group).iterdir() if (p / NODE).is_file())
        order = cast(list[str], self.attributes(group).get("order", []))
        return tuple(sorted(names, key=lambda n: order.index(n) if n in order else len(order)))

    def attributes(self, where: str) -> dict[str, object]:
        """The attributes of a group."""
        return node_attributes(read_node(self.path / where, f"/{where}"))

    def shape(self, where: str) -> tuple[int, ...]:
        """The shape of a variable, from its metadata alone."""
        return tuple(cast(list[int], read_node(self.path / where, f"/{where}")["shape"]))

    def array(self, where: str, done: Bool[np.ndarray, "..."] | None = None) -> StoredArray:
        """A handle on a variable; `done`, over its leading dims, marks the cells whose data count."""
        return StoredArray(self.path, where, done)

    def read(self, where: str) -> np.ndarray:
        """A whole variable as a NumPy array; texts come as an object array of str.

        Raises:
            BrokenStore: The variable is missing or damaged.
        """
        try:
            return self.array(where)[...]
        except FileNotFoundError:
            raise BrokenStore(f"/{where} is missing from {self.path}. Fix: see what `inoc validate` lists.") from None

    def labels(self, where: str) -> tuple[str, ...]:
        """A whole variable of texts."""
        return tuple(str(value) for value in self.read(where))

    # log-probabilities

    @property
    def completion_sets(self) -> tuple[str, ...]:
        """Sets that have log-probabilities at some level, "train" first."""
        found = (name for group in LOGPROB_GROUP.values() for name in self.subgroups(group))
        return known_first(found, COMPLETION_SETS)

    def levels(self, completion_set: str = "train") -> tuple[Level, ...]:
        """The levels that a set is stored at."""
        return tuple(level for level, group in LOGPROB_GROUP.items() if self.has(f"{group}/{completion_set}"))

    def markers(self, level: Level, completion_set: str) -> tuple[bool, Bool[np.ndarray, "prefix_type prompt"]]:
        """Whether the default of a set is done, and which of its units are.

        Raises:
            IncompleteStore: The set is not stored at that level.
        """
        where = f"{LOGPROB_GROUP[level]}/{completion_set}"
        if not self.has(where):
            raise IncompleteStore(
                f"{self.path} has no {level}-level log-probabilities of the set {completion_set!r} "
                f"(sets: {', '.join(self.completion_sets) or 'none'}). Fix: run `inoc score` or `inoc import`."
            )
        return int(self.read(f"{where}/default_crc")) != PENDING, self.read(f"{where}/unit_crc") != PENDING

    @steadily
    def token_logprobs(self, completion_set: str = "train") -> TokenArrays:
        """Handles on the token-level log-probabilities of a set; slicing reads.

        Args:
            completion_set: "train", "control", "positive", "negative" or a name of the user's.

        Returns:
            `default` [token] and `prefixed` [prefix_type, prompt, token] in nats, with their labels.

        Raises:
            IncompleteStore: The set is not stored at token level.
        """
        default, prefixed, axes = self._logprobs("token", completion_set)
        return TokenArrays(default, prefixed, self.read(f"logprobs/{completion_set}/row_size"), *axes)

    @steadily
    def example_logprobs(self, completion_set: str = "train") -> ExampleArrays:
        """Mean log-probabilities per example, in memory; only what is stored at example level.

        Args:
            completion_set: As for `token_logprobs`.

        Returns:
            `default` [example] and `prefixed` [prefix_type, prompt, example] in nats per token, with their labels.

        Raises:
            IncompleteStore: The set is not stored at example level.
        """
        default, prefixed, axes = self._logprobs("example", completion_set)
        return ExampleArrays(default[...], prefixed[...], *axes)

    def _logprobs(self, level: Level, completion_set: str) -> tuple[StoredArray, StoredArray, Axes]:
        default_done, done = self.markers(level, completion_set)
        where = f"{LOGPROB_GROUP[level]}/{completion_set}"
        prefixed = self.array(f"{where}/prefixed", done)
        kinds, prompts, ids = (self.labels(f"{where}/{v}") for v in ("prefix_type", "prompt", "example"))
        axes = Axes(kinds, prompts, ids, done, default_done)
        if not prefixed.shape[:2] == done.shape == (len(kinds), len(prompts)):
            raise BrokenStore(
                f"/{where}: labels, markers and data have different sizes. Fix: see what `inoc validate` lists."
            )
        return self.array(f"{where}/default", np.asarray(default_done)), prefixed, axes

    @steadily
    def pending(self) -> tuple[Unit, ...]:
        """Units that are planned and not done, over all sets and levels."""
        units: list[Unit] = []
        for level, group in LOGPROB_GROUP.items():
            for name in self.subgroups(group):
                default_done, done = self.markers(level, name)
                kinds, prompts = (self.labels(f"{group}/{name}/{v}") for v in ("prefix_type", "prompt"))
                units += [] if default_done else [Unit.default(name)]
                units += [Unit(name, kinds[f], prompts[p]) for f, p in np.argwhere(~done)]
        return tuple(dict.fromkeys(units))

    # runs

    def run(self, name: str) -> RunInfo:
        """What was trained under a name.

        Raises:
            BadInput: The store has no such run; the message suggests the nearest name.
        """
        if not self.has(f"runs/{name}"):
            raise BadInput(f"{self.path}: {unknown('run', name, self.subgroups('runs'))}")
        return RunInfo.stored(name, self.attributes(f"runs/{name}"))

    @property
    @steadily
    def runs(self) -> Mapping[str, RunInfo]:
        """All runs by name, in the order they were planned."""
        return {name: self.run(name) for name in self.subgroups("runs")}

    @cached_property
    @steadily
    def rephrasings(self) -> Mapping[str, tuple[str, ...]]:
        """Pool of rephrasings by prompt key; empty without pools."""
        if not self.has("rephrasings"):
            return {}
        pools: dict[str, list[str]] = {}
        keys, texts = self.labels("rephrasings/prompt"), self.labels("rephrasings/text")
        for key, text in zip(keys, texts, strict=True):
            pools.setdefault(key, []).append(text)
        return {key: tuple(pool) for key, pool in pools.items()}

    @steadily
    def pending_evaluations(self) -> tuple[tuple[str, int, str], ...]:
        """(run, step, condition) of every evaluation that is planned and not done."""
        found: list[tuple[str, int, str]] = []
        for name in self.subgroups("runs"):
            steps, conditions = self.read(f"runs/{name}/step"), self.labels(f"runs/{name}/condition")
            cells = np.argwhere(self.read(f"runs/{name}/unit_crc") == PENDING)
            found += [(name, int(steps[s]), conditions[c]) for s, c in cells]
        return tuple(found)
