"""The bytes and arrays of one store, read-only: what writing, validating and the labeled views rest on."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, wraps
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar, cast

import numpy as np
from jaxtyping import Bool, Int64

from inoc.errors import BadInput, BrokenStore, IncompleteStore
from inoc.names import unknown
from inoc.store import v1
from inoc.store.arrays import Axes, ExampleArrays, StoredArray, TokenArrays
from inoc.store.change import Files
from inoc.store.chunks import Layout, layout_of
from inoc.store.files import ARRAYS, CRC, NODE, ORDER, node_attributes, parse_node
from inoc.store.history import Entry, entries
from inoc.store.opening import read_root, steady
from inoc.store.runs import RunInfo
from inoc.store.schema import (
    COMPLETION_SETS,
    GROUPS,
    LOGPROB_GROUP,
    NESTED,
    PENDING,
    Level,
    ScoreInfo,
    Unit,
    known_first,
    marked,
    named_scores,
    spec_of,
)
from inoc.store.seals import CellSeal, Member, TableSeal

Marks = Int64[np.ndarray, "..."]
"""Values of a marker: a checksum for every cell that is done, else PENDING."""

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
        self._nodes: dict[str, tuple[bytes, dict[str, object]]] = {}
        self.root: Mapping[str, object] = {}
        self.files = Files(path)
        if path.exists():
            steady(path, self._open)
        else:
            self.root = read_root(path)

    def _open(self) -> None:
        self.root = read_root(self.path)
        self.files.look()
        if v1.is_v1(self.root):
            self.root = v1.root_of(self.files, self.root)
        self._check_listed("", self.root)

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
    def history(self) -> list[Entry]:
        """The experiments that were accepted: command, version, time, fingerprint and changes of each."""
        return entries(self.root)

    @property
    def complete(self) -> bool:
        """Whether the last writer closed the store with nothing pending."""
        return bool(self.root["complete"])

    @property
    def traits(self) -> tuple[ScoreInfo, ...]:
        """The scores with a role, in the order of the experiment."""
        return tuple(score for score in self.measured if score.role)

    @property
    def measured(self) -> tuple[ScoreInfo, ...]:
        """Every score, in the order of the experiment."""
        return named_scores(cast(list[dict[str, str]], self.root["traits"]))

    # groups and variables; `where` is a path inside the store, such as "runs/german/score"

    def has(self, where: str) -> bool:
        """Whether the group or variable exists."""
        if where == "":
            return True
        group, _, name = where.rpartition("/")
        if not self.has(group):
            return False
        node = self.node(group)
        return name in _order(node) or name in _listed(node)

    def subgroups(self, group: str) -> tuple[str, ...]:
        """Names of the sets or runs of a group, in the order they were made (then by name)."""
        return _order(self.node(group)) if self.has(group) else ()

    def variables(self, group: str) -> tuple[str, ...]:
        """Names of the variables of a group, sorted."""
        return tuple(sorted(_listed(self.node(group))))

    def node(self, where: str) -> Mapping[str, object]:
        """Everything the zarr.json of a group or the attributes of a variable say, lists of contents included."""
        return self.root if where == "" else node_attributes(self._document(where))

    def attributes(self, where: str) -> dict[str, object]:
        """The attributes of a group, without the lists of what it contains."""
        return {name: value for name, value in self.node(where).items() if name not in (ORDER, ARRAYS)}

    def _document(self, where: str) -> dict[str, object]:
        """The verified zarr.json of a node; parsed again only where its bytes changed."""
        return steady(self.path, lambda: self._read_document(where))

    def _read_document(self, where: str) -> dict[str, object]:
        self.files.look()
        try:
            raw = self.files.read(f"{where}/{NODE}")
        except FileNotFoundError:
            raise BrokenStore(
                f"/{where}: its {NODE} is missing from {self.path}. Fix: see what `inoc validate` lists."
            ) from None
        except OSError as error:
            raise BrokenStore(f"/{where}: its {NODE} cannot be read ({error.strerror}). Fix: see its file.") from error
        known = self._nodes.get(where)
        if known is None or known[0] != raw:
            document = parse_node(raw, f"/{where}")
            if v1.is_v1(self.root) and document.get("node_type") == "group":
                document["attributes"] = v1.group_of(self.files, where, node_attributes(document))
            self._check_listed(where, node_attributes(document))
            known = self._nodes[where] = raw, document
        return known[1]

    def _check_listed(self, where: str, node: Mapping[str, object]) -> None:
        """BrokenStore where there are groups or variables that the group's list of its contents lacks."""
        group = where.partition("/")[0]
        known = {*GROUPS} if where == "" else {*GROUPS.get(group, {})}
        lost = sorted(self.files.folders(where).difference(_order(node), _listed(node)))
        anything = where in NESTED or where == "embeddings"
        for name in (name for name in lost if name in known or anything):
            raise BrokenStore(
                f"/{where}: it holds {name}, which is not in its list of contents: its {NODE} is not the latest. "
                "Fix: restore the store from a copy."
            )

    def layout(self, where: str) -> Layout:
        """Shape, chunks and type of a variable, from its metadata alone."""
        document = self._document(where)
        group, _, name = where.rpartition("/")
        if _listed(self.node(group)).get(name, (None,))[0] != _crc_in(document):
            raise BrokenStore(f"/{where}: its {NODE} is not the one that was written. Fix: restore it from a copy.")
        return layout_of(document, where)

    def shape(self, where: str) -> tuple[int, ...]:
        """The shape of a variable, from its metadata alone."""
        return self.layout(where).shape

    def array(self, where: str, marks: Marks | None = None) -> StoredArray:
        """A handle on a variable. Of one that is written cell by cell the cells that are not marked read as NaN.

        Args:
            where: The variable's path.
            marks: The values of its marker, where they are read already.
        """
        group, _, name = where.rpartition("/")
        spec, layout = spec_of(where), self.layout(where)
        if not spec.marker:
            crc = _listed(self.node(group))[name][1]
            seal = None if crc == PENDING else TableSeal(where, crc)
            return StoredArray(self.files, where, layout, None, seal, name in marked(group))
        marks = self.marks(group, spec.marker) if marks is None else marks
        members = self.members(group, spec.marker)
        own = next(member for member in members if member.where == where)
        if own.only is not None and own.only >= marks.shape[0]:
            done = np.zeros(marks.shape[1:], bool)
        else:
            done = np.asarray((marks if own.only is None else marks[own.only]) != PENDING)
        seal = None if v1.is_v1(self.root) else CellSeal(self.files, members, own, marks)
        return StoredArray(self.files, where, layout, done, seal)

    def unmarked(self, where: str) -> StoredArray:
        """A handle on the chunks that are there, whatever the markers say: for the writer, which compares."""
        group, _, name = where.rpartition("/")
        return StoredArray(self.files, where, self.layout(where), sparse=name in marked(group))

    def marks(self, group: str, marker: str) -> Marks:
        """The values of a marker."""
        return np.asarray(self.read(f"{group}/{marker}"))

    def members(self, group: str, marker: str) -> tuple[Member, ...]:
        """The variables that a marker vouches for."""
        dims = spec_of(f"{group}/{marker}").dims
        found: list[Member] = []
        for name in marked(group)[marker]:
            if not self.has(f"{group}/{name}"):
                continue
            spec, only = spec_of(f"{group}/{name}"), None
            if spec.only:
                kinds = self.labels(f"{group}/{dims[0]}")
                only = kinds.index(spec.only) if spec.only in kinds else len(kinds)
            axes = tuple(dims.index(dim) for dim in spec.dims if dim in dims)
            found.append(Member(f"{group}/{name}", self.layout(f"{group}/{name}"), axes, only))
        return tuple(found)

    def read(self, where: str) -> np.ndarray:
        """A whole variable as a NumPy array; texts come as an object array of str.

        Raises:
            BrokenStore: The variable is missing or damaged.
        """
        return self.array(where)[...]

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
        default, units = self._marks(level, completion_set)
        return bool(default != PENDING), units != PENDING

    def _marks(self, level: Level, completion_set: str) -> tuple[Marks, Marks]:
        where = f"{LOGPROB_GROUP[level]}/{completion_set}"
        if not self.has(where):
            raise IncompleteStore(
                f"{self.path} has no {level}-level log-probabilities of the set {completion_set!r} "
                f"(sets: {', '.join(self.completion_sets) or 'none'}). Fix: run `inoc score` or `inoc import`."
            )
        return self.marks(where, "default_crc"), self.marks(where, "unit_crc")

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
        default, units = self._marks(level, completion_set)
        done = units != PENDING
        where = f"{LOGPROB_GROUP[level]}/{completion_set}"
        prefixed = self.array(f"{where}/prefixed", units)
        kinds, prompts, ids = (self.labels(f"{where}/{v}") for v in ("prefix_type", "prompt", "example"))
        axes = Axes(kinds, prompts, ids, done, bool(default != PENDING))
        if not prefixed.shape[:2] == done.shape == (len(kinds), len(prompts)):
            raise BrokenStore(
                f"/{where}: labels, markers and data have different sizes. Fix: see what `inoc validate` lists."
            )
        return self.array(f"{where}/default", default), prefixed, axes

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

    def planned(self, name: str) -> Bool[np.ndarray, "step condition"]:
        """The evaluations of a run that are to be made; all, where the store does not say."""
        where = f"runs/{name}"
        if self.has(f"{where}/planned"):
            return self.read(f"{where}/planned") != 0
        return np.ones(self.shape(f"{where}/unit_crc"), dtype=bool)

    def answered(self, name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The question and the named file of every answer of a run; without them each answer is a question."""
        where, labels = f"runs/{name}", self.labels(f"runs/{name}/instruction")
        if self.has(f"{where}/question"):
            return self.labels(f"{where}/question"), self.labels(f"{where}/file")
        return labels, v1.files_of(self.experiment, labels)

    @property
    def probes(self) -> Mapping[str, str]:
        """The conditions that are probes, with their categories."""
        evaluation = cast(Mapping[str, object], self.experiment.get("evaluation") or {})
        probes = cast(Mapping[str, Sequence[str]], evaluation.get("probes") or {})
        return {str(key): str(category) for category, texts in probes.items() for key in texts}

    @steadily
    def pending_evaluations(self) -> tuple[tuple[str, int, str], ...]:
        """(run, step, condition) of every evaluation that is planned and not done."""
        found: list[tuple[str, int, str]] = []
        for name in self.subgroups("runs"):
            steps, conditions = self.read(f"runs/{name}/step"), self.labels(f"runs/{name}/condition")
            cells = np.argwhere((self.read(f"runs/{name}/unit_crc") == PENDING) & self.planned(name))
            found += [(name, int(steps[s]), conditions[c]) for s, c in cells]
        return tuple(found)

    @steadily
    def pending_probes(self) -> tuple[tuple[str, str, str], ...]:
        """(probe, prefix type, prompt) of everything that is to be probed and not done."""
        found: list[tuple[str, str, str]] = []
        for name in self.subgroups("probes"):
            kinds, keys = (self.labels(f"probes/{name}/{v}") for v in ("prefix_type", "prompt"))
            cells = np.argwhere(self.read(f"probes/{name}/unit_crc") == PENDING)
            found += [(name, kinds[f], keys[p]) for f, p in cells]
        return tuple(found)


def _order(node: Mapping[str, object]) -> tuple[str, ...]:
    """The subgroups that a group lists."""
    return tuple(cast(list[str], node.get(ORDER) or []))


def _listed(node: Mapping[str, object]) -> dict[str, tuple[int, int]]:
    """The variables that a group lists: the checksum of each one's metadata, and the one over its chunks."""
    return {name: (crcs[0], crcs[1]) for name, crcs in cast(dict[str, list[int]], node.get(ARRAYS) or {}).items()}


def _crc_in(document: Mapping[str, object]) -> object:
    return cast(Mapping[str, object], document["attributes"])[CRC]
