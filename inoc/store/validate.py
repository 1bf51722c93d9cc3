"""Verifying a run store: every node, dim, type, checksum and marker. Problems name the group and variable."""

import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

import numpy as np

from inoc.errors import BrokenStore
from inoc.store.arrays import StoredArray
from inoc.store.chunks import Layout, read_layout
from inoc.store.evaluations import cell_crc
from inoc.store.lock import is_locked
from inoc.store.opening import steady
from inoc.store.schema import GROUPS, LOGPROB_GROUP, NESTED, PENDING, PREFIX_TYPES, ROLES, Level
from inoc.store.store import Store
from inoc.store.units import cells, unit_problem

ROOT_ATTRIBUTES = ("schema", "schema_version", "experiment", "identity", "provenance", "traits", "complete")
RUN_ATTRIBUTES = ("prompt", "prefix_type", "seed", "nominal_step", "settings")
UNIT_VARIABLES = ("default", "prefixed", "rephrasing")


def validate(path: str | Path) -> list[str]:
    """All problems of a store, each one sentence that names group and variable; empty if it is sound.

    Pending units are no problem. Memory is bounded by one row of tokens.

    Raises:
        BadInput: there is no store at all.
        BrokenStore: the root is damaged or of a newer schema, so that nothing else can be trusted.
    """
    run = Store(Path(path))

    def problems() -> list[str]:
        check = _Validator(run)
        check.everything()
        return check.problems

    for left in reversed(range(5)):  # what a living writer is just changing may look wrong for a moment
        busy = is_locked(run.path)
        found = steady(run.path, problems)
        if not (found and left and (busy or is_locked(run.path))):
            return found
        time.sleep(0.05)
    raise AssertionError("unreachable")


class _Validator:
    def __init__(self, store: Store) -> None:
        self.run = store
        self.problems: list[str] = []

    def say(self, where: str, what: str) -> None:
        self.problems.append(f"/{where}: {what}")

    def everything(self) -> None:
        if not self._root():
            return
        for entry in sorted(p.name for p in self.run.path.iterdir() if p.is_dir() and p.name[0] != "."):
            if entry not in GROUPS:
                self.say(entry, "no group of schema v1.")
        for kind in GROUPS:
            if not (self.run.path / kind).is_dir():
                continue
            for where in self._members(kind):
                before = len(self.problems)
                layouts = self._variables(kind, where)
                if len(self.problems) == before:
                    self._content(kind, where, layouts)
        if not self.problems and self.run.complete:
            left = len(self.run.pending()) + len(self.run.pending_evaluations())
            if left:
                self.say("", f"marked complete, but {left} units are pending.")

    def _root(self) -> bool:
        attributes = self.run.root
        missing = [name for name in ROOT_ATTRIBUTES if name not in attributes]
        for name in missing:
            self.say("", f"attribute {name} is missing.")
        if missing:
            return False
        for name in ("experiment", "identity", "provenance"):
            if not isinstance(attributes[name], dict):
                self.say("", f"attribute {name} is no JSON object.")
        try:
            names = [t.name for t in self.run.traits]
        except (KeyError, TypeError):
            self.say("", "attribute traits is no list of name, role, family.")
            return False
        self._unique("", "traits", names)
        return True

    def _members(self, kind: str) -> list[str]:
        """The groups of a kind that can be read; damaged ones are reported."""
        found: list[str] = []
        try:
            self.run.attributes(kind)
            places = [kind]
            if kind in NESTED:
                parent = self.run.path / kind
                places = [f"{kind}/{p.name}" for p in sorted(parent.iterdir()) if p.is_dir()]
            for where in places:
                self.run.attributes(where)
                found.append(where)
        except FileNotFoundError as error:
            self.say(str(Path(error.filename).parent.relative_to(self.run.path)), "its zarr.json is missing.")
        except BrokenStore as error:
            self.problems.append(str(error))
        return found

    def _variables(self, kind: str, where: str) -> dict[str, Layout]:
        """Presence, dims, dtypes, sizes and chunks of a group's variables."""
        specs, layouts = GROUPS[kind], dict[str, Layout]()
        present = sorted(p.name for p in (self.run.path / where).iterdir() if p.is_dir())
        for name in present:
            place = f"{where}/{name}"
            spec = specs.get(name)
            if spec is None and kind != "embeddings":
                self.say(place, "no variable of schema v1.")
                continue
            try:
                layout = layouts[name] = read_layout(self.run.path / place, place)
                dims, dtype = (spec.dims, spec.dtype) if spec else (("prompt",), "float64")
                if layout.dims != dims:
                    self.say(place, f"dims {layout.dims}, {dims} are due.")
                if layout.dtype != dtype:
                    self.say(place, f"type {layout.dtype}, {dtype} is due.")
                if kind not in LOGPROB_GROUP.values() or name not in UNIT_VARIABLES:
                    StoredArray(self.run.path, place)[...]
            except FileNotFoundError:
                self.say(place, "its zarr.json is missing.")
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
                self._unique(where, name, self.run.read(f"{where}/{name}").tolist())
        if "prompt" in layouts and kind != "prompts":
            self._known_prompts(f"{where}/prompt", self.run.read(f"{where}/prompt"))
        for level, group in LOGPROB_GROUP.items():
            if kind == group:
                self._logprobs(level, where)
        if kind == "prompts":
            for key, role in zip(self.run.read("prompts/prompt"), self.run.read("prompts/role"), strict=True):
                if role not in ROLES:
                    self.say("prompts/role", f"prompt {key!r} has the role {role!r}.")
        if kind == "completions":
            self._completions(where, layouts)
        if kind in ("elicitation", "runs"):
            self._traits(where)
            self._range(f"{where}/score", 0.0, 100.0)
            if "coverage" in layouts:
                self._range(f"{where}/coverage", 0.0, 1.0)
        if kind == "elicitation":
            self._range(f"{where}/baseline", 0.0, 100.0)
        if kind == "runs":
            self._run(where)

    def _unique(self, where: str, name: str, values: Sequence[str | int]) -> None:
        seen: set[str | int] = set()
        for value in values:
            if value in seen:
                self.say(f"{where}/{name}".lstrip("/"), f"{value!r} comes twice.")
            seen.add(value)

    def _known_prompts(self, where: str, keys: Iterable[str]) -> None:
        known = set(self.run.read("prompts/prompt")) if self.run.has("prompts/prompt") else set[str]()
        for key in sorted(set(keys) - known):
            self.say(where, f"prompt {key!r} is not among /prompts.")

    def _traits(self, where: str) -> None:
        known = {t.name for t in self.run.traits}
        for name in self.run.read(f"{where}/trait"):
            if known and name not in known:
                self.say(f"{where}/trait", f"unknown trait {name!r}.")

    def _range(self, where: str, low: float, high: float) -> None:
        values = self.run.read(where)
        bad = int((np.isinf(values) | (values < low) | (values > high)).sum())
        if bad:
            self.say(where, f"{bad} values outside {low:g} to {high:g}.")

    def _logprobs(self, level: Level, where: str) -> None:
        for kind in self.run.read(f"{where}/prefix_type"):
            if kind not in PREFIX_TYPES:
                self.say(f"{where}/prefix_type", f"unknown prefix type {kind!r}.")
        if level == "token":
            rows, size = self.run.read(f"{where}/row_size"), self.run.shape(f"{where}/default")[0]
            if (rows < 0).any() or int(rows.sum()) != size:
                self.say(f"{where}/row_size", f"adds up to {int(rows.sum())} tokens, {size} are stored.")
            source = f"completions/{where.split('/')[1]}/row_size"
            if self.run.has(source) and not np.array_equal(self.run.read(source), rows):
                self.say(f"{where}/row_size", f"differs from /{source}.")
        for cell in cells(self.run, where):
            problem = unit_problem(self.run, where, cell)
            if problem:
                self.problems.append(problem)

    def _completions(self, where: str, layouts: dict[str, Layout]) -> None:
        self._unique(where, "example_id", list(self.run.read(f"{where}/example_id")))
        if "token_id" in layouts:
            rows = self.run.read(f"{where}/row_size") if "row_size" in layouts else np.zeros(0)
            if int(rows.sum()) != layouts["token_id"].shape[0]:
                self.say(
                    f"{where}/token_id", f"{layouts['token_id'].shape[0]} ids for {int(rows.sum())} tokens."
                )

    def _run(self, where: str) -> None:
        attributes = self.run.attributes(where)
        for name in RUN_ATTRIBUTES:
            if name not in attributes:
                self.say(where, f"attribute {name} is missing.")
        prompt = cast(str, attributes.get("prompt", ""))
        if prompt:
            self._known_prompts(where, [prompt])
        if attributes.get("prefix_type") not in ("none", *PREFIX_TYPES):
            self.say(where, f"unknown prefix type {attributes.get('prefix_type')!r}.")
        marks = self.run.read(f"{where}/unit_crc")
        for cell in np.argwhere(marks != PENDING):
            done = np.ones((), dtype=bool)
            at = tuple(int(i) for i in cell)
            try:
                score, coverage = (
                    StoredArray(self.run.path, f"{where}/{v}", done)[at] for v in ("score", "coverage")
                )
                texts = None
                if self.run.has(f"{where}/generation"):
                    texts = [str(t) for t in StoredArray(self.run.path, f"{where}/generation", done)[at]]
            except BrokenStore as error:
                self.problems.append(str(error))
                continue
            if cell_crc(score, coverage, texts) != marks[at]:
                self.say(f"{where}/score", f"the data of evaluation {list(at)} differ from their CRC marker.")
