"""Verifying a store: every node, dim, type, checksum and marker. Problems name the group and variable."""

import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from inoc.errors import BrokenStore
from inoc.store.change import COMMIT, links, read_record
from inoc.store.chunks import Layout
from inoc.store.marks import read_cells
from inoc.store.opening import may_be_written, steady
from inoc.store.progress import UNWATCHED, Progress
from inoc.store.reader import Reader
from inoc.store.schema import GROUPS, LOGPROB_GROUP, NESTED, PREFIX_TYPES, ROLES, marked

ROOT_ATTRIBUTES = ("schema", "schema_version", "experiment", "identity", "provenance", "traits", "complete")
RUN_ATTRIBUTES = ("prompt", "prefix_type", "seed", "nominal_step", "settings")
RANGES = {"score": 100.0, "value": 100.0, "baseline": 100.0, "coverage": 1.0}


def validate(path: str | Path, progress: Progress = UNWATCHED) -> list[str]:
    """All problems of a store, a sentence each that names group and variable. Pending units are not a problem. Memory
    is bounded by one row of tokens. `progress` is told of every group.

    Raises:
        BadInput: There is no store.
        BrokenStore: The root is damaged or of a newer schema, so that nothing else can be trusted.
    """
    store = Reader(Path(path))

    def problems() -> list[str]:
        check = _Validator(store)
        check.everything(progress)
        return check.problems

    found, lasting = list[str](), None
    for _ in range(5):  # what a living writer is just changing may look wrong for a moment, damage at every look
        busy = may_be_written(store.path)
        found = [problem for problem in steady(store.path, problems) if lasting is None or _place(problem) in lasting]
        lasting = {_place(problem) for problem in found}
        if not found or not (busy or may_be_written(store.path)):
            break
        time.sleep(0.05)
    return found


def _place(problem: str) -> str:
    return problem.partition(": ")[0]


def verify_units(path: str | Path) -> int:
    """How many token-level units are done; each is read and must have all its values, as after scoring, else
    BrokenStore names it."""
    store, count = Reader(Path(path)), 0
    for name in store.subgroups(LOGPROB_GROUP["token"]):
        group = f"{LOGPROB_GROUP['token']}/{name}"
        for read in (read for marker in marked(group) for read in read_cells(store, group, marker)):
            if read.wrong is not None:
                raise read.wrong
            if any(np.isnan(values).any() for values in read.values.values() if values.dtype.kind == "f"):
                raise BrokenStore(f"{path}: /{group}: unit {list(read.cell)} lacks log-probabilities.")
            count += 1
    return count


class _Validator:
    def __init__(self, store: Reader) -> None:
        self.store = store
        self.problems: list[str] = []

    def say(self, where: str, what: str) -> None:
        self.problems.append(f"/{where}: {what}")

    def _attempt(self, check: Callable[[], object]) -> None:
        try:
            check()
        except BrokenStore as error:
            self.problems.append(str(error))

    def everything(self, progress: Progress) -> None:
        if not self._root():
            return
        for path in links(self.store.path):
            self.say(path.relative_to(self.store.path).as_posix(), "is a link; a store holds its own files only.")
        if (self.store.path / COMMIT).exists():
            self._attempt(lambda: read_record(self.store.path / COMMIT))
        for entry in sorted(p.name for p in self.store.path.iterdir() if p.is_dir() and p.name[0] != "."):
            if entry not in GROUPS:
                self.say(entry, "unknown to the schema.")
        kinds = [kind for kind in GROUPS if self.store.has(kind)]
        members = [(kind, where) for kind in kinds for where in self._members(kind)]
        progress.begin("groups", len(members))
        for kind, where in members:
            before = len(self.problems)
            layouts = self._variables(kind, where)
            if len(self.problems) == before:
                self._content(kind, where, layouts)
            progress.step(where)
        if not self.problems and self.store.complete:
            pending = (self.store.pending(), self.store.pending_evaluations(), self.store.pending_probes())
            left = sum(map(len, pending))
            if left:
                self.say("", f"marked complete, but {left} units are pending.")

    def _root(self) -> bool:
        attributes = self.store.root
        missing = [name for name in ROOT_ATTRIBUTES if name not in attributes]
        for name in missing:
            self.say("", f"attribute {name} is missing.")
        if missing:
            return False
        for name in ("experiment", "identity", "provenance"):
            if not isinstance(attributes[name], dict):
                self.say("", f"attribute {name} is not a JSON object.")
        try:
            names = [t.name for t in self.store.measured]
        except (KeyError, TypeError):
            self.say("", "attribute traits is not a list of name, role, family.")
            return False
        self._unique("", "traits", names)
        return True

    def _members(self, kind: str) -> list[str]:
        """The groups of a kind that can be read; damaged ones are reported."""
        found: list[str] = []
        try:
            self.store.attributes(kind)
            places = [f"{kind}/{name}" for name in self.store.subgroups(kind)] if kind in NESTED else [kind]
        except BrokenStore as error:
            self.problems.append(str(error))
            return found
        for where in places:
            try:
                self.store.attributes(where)
                found.append(where)
            except BrokenStore as error:
                self.problems.append(str(error))
        return found

    def _variables(self, kind: str, where: str) -> dict[str, Layout]:
        """Presence, dims, dtypes, sizes and chunks of a group's variables."""
        specs, layouts = GROUPS[kind], dict[str, Layout]()
        present = sorted({*self.store.variables(where), *self.store.files.folders(where)})
        for name in present:
            place = f"{where}/{name}"
            spec = specs.get(name)
            if spec is None and kind != "embeddings":
                self.say(place, "unknown to the schema.")
                continue
            try:
                layout = layouts[name] = self.store.layout(place)
                dims, dtype = (spec.dims, spec.dtype) if spec else (("prompt",), "float64")
                if layout.dims != dims:
                    self.say(place, f"dims {layout.dims}, expected {dims}.")
                if layout.dtype != dtype:
                    self.say(place, f"type {layout.dtype}, expected {dtype}.")
                if not (spec and spec.marker):
                    self.store.read(place)
            except BrokenStore as error:
                self.problems.append(str(error))
        for name in (n for n, s in specs.items() if s.required and n not in present):
            self.say(f"{where}/{name}", "is missing.")
        sizes: dict[str, tuple[str, int]] = {}
        for name, layout in layouts.items():
            for dim, size in zip(layout.dims, layout.shape, strict=True):
                first, known = sizes.setdefault(dim, (name, size))
                if known != size:
                    self.say(f"{where}/{name}", f"{size} along {dim}, but {first} has {known}.")
        return layouts

    def _content(self, kind: str, where: str, layouts: dict[str, Layout]) -> None:
        for name, layout in layouts.items():
            if layout.dims == (name,):
                self._unique(where, name, self.store.read(f"{where}/{name}").tolist())
        if "prompt" in layouts and kind != "prompts":
            self._known_prompts(f"{where}/prompt", self.store.read(f"{where}/prompt"))
        for name in RANGES.keys() & layouts.keys():
            if not GROUPS[kind][name].marker and layouts[name].dtype != "string":
                self._range(f"{where}/{name}", self.store.read(f"{where}/{name}"), RANGES[name])
        for marker in marked(where):
            for read in read_cells(self.store, where, marker):
                if read.wrong is not None:
                    self.problems.append(str(read.wrong))
                for name, values in read.values.items():
                    if name in RANGES:
                        self._range(f"{where}/{name}", values, RANGES[name])
                    elif kind in LOGPROB_GROUP.values() and values.dtype.kind == "f":
                        self._possible(f"{where}/{name}", list(read.cell), values)
        if "trait" in layouts:
            self._traits(where)
        if kind in LOGPROB_GROUP.values():
            self._logprobs(where, layouts)
        elif kind == "prompts":
            for key, role in zip(*(self.store.labels(f"prompts/{v}") for v in ("prompt", "role")), strict=True):
                if role not in ROLES:
                    self.say("prompts/role", f"prompt {key!r} has the role {role!r}.")
        elif kind == "completions":
            self._completions(where, layouts)
        elif kind == "runs":
            self._run(where)

    def _unique(self, where: str, name: str, values: Sequence[str | int]) -> None:
        seen: set[str | int] = set()
        for value in values:
            if value in seen:
                self.say(f"{where}/{name}".lstrip("/"), f"{value!r} comes twice.")
            seen.add(value)

    def _known_prompts(self, where: str, keys: Iterable[str]) -> None:
        known = set(self.store.read("prompts/prompt")) if self.store.has("prompts/prompt") else set[str]()
        for key in sorted(set(keys) - known):
            self.say(where, f"prompt {key!r} is not among /prompts.")

    def _traits(self, where: str) -> None:
        known = {t.name for t in self.store.measured}
        for name in self.store.read(f"{where}/trait"):
            if known and name not in known:
                self.say(f"{where}/trait", f"unknown trait {name!r}.")

    def _range(self, where: str, values: np.ndarray, high: float) -> None:
        bad = int((np.isinf(values) | (values < 0) | (values > high)).sum())
        if bad:
            self.say(where, f"{bad} values outside 0 to {high:g}.")

    def _possible(self, where: str, cell: list[int], values: np.ndarray) -> None:
        bad = int((np.isinf(values) | (values > 0)).sum())
        if bad:
            self.say(where, f"unit {cell} has {bad} infinite or positive log-probabilities.")

    def _logprobs(self, where: str, layouts: dict[str, Layout]) -> None:
        for kind in self.store.labels(f"{where}/prefix_type"):
            if kind not in PREFIX_TYPES:
                self.say(f"{where}/prefix_type", f"unknown prefix type {kind!r}.")
        if "row_size" in layouts:
            rows, size = self.store.read(f"{where}/row_size"), layouts["default"].shape[0]
            if (rows < 0).any() or int(rows.sum()) != size:
                self.say(f"{where}/row_size", f"adds up to {int(rows.sum())} tokens, {size} are stored.")
            source = f"completions/{where.split('/')[1]}/row_size"
            if self.store.has(source) and not np.array_equal(self.store.read(source), rows):
                self.say(f"{where}/row_size", f"differs from /{source}.")

    def _completions(self, where: str, layouts: dict[str, Layout]) -> None:
        self._unique(where, "example_id", list(self.store.read(f"{where}/example_id")))
        if "token_id" in layouts:
            rows = self.store.read(f"{where}/row_size") if "row_size" in layouts else np.zeros(0)
            if int(rows.sum()) != layouts["token_id"].shape[0]:
                self.say(f"{where}/token_id", f"{layouts['token_id'].shape[0]} ids for {int(rows.sum())} tokens.")

    def _run(self, where: str) -> None:
        attributes, run = self.store.attributes(where), self.store.run(where.split("/")[1])
        for name in RUN_ATTRIBUTES:
            if name not in attributes:
                self.say(where, f"attribute {name} is missing.")
        if run.prompt:
            self._known_prompts(where, [run.prompt])
        if run.prefix_type not in ("none", *PREFIX_TYPES):
            self.say(where, f"unknown prefix type {run.prefix_type!r}.")
