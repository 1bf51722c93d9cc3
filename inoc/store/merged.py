"""The content of several stores of one study as one: compared first, then written to a new store.

What two stores both hold must be equal bit for bit. `inoc merge` takes stores that were split over machines, `inoc
import --append` a store and one of what the files say.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, NamedTuple, TypeVar, cast

import numpy as np

from inoc.errors import BadInput, OtherSettings
from inoc.store.fingerprint import completions_fingerprint, difference, imported_identity
from inoc.store.runs import RunInfo, RunPlan
from inoc.store.schema import GROUPS, LOGPROB_GROUP, PENDING, UNKNOWN, Level, PromptInfo, ScoreInfo, Unit, marked
from inoc.store.scored import judgments
from inoc.store.store import Store
from inoc.store.tables import stored_prompts, union

COMPLETION_COLUMNS = ("example_id", "row_size", "token_id", "instruction", "completion")
HANDLED = frozenset(
    ("prompts", "completions", *LOGPROB_GROUP.values(), "elicitation", "runs", "judgments", "rephrasings",
     "self_perplexity", "embeddings", "emergence", "probes")
)  # fmt: skip
"""Groups that are merged; a store with another one is refused, so that nothing is left out silently."""


_UNIT = ("prefix_type", "prompt")
V = TypeVar("V")
Key = tuple[str | int, ...]
Arrays = tuple[np.ndarray, ...]
Columns = Mapping[str, np.ndarray]
Probed = tuple[Mapping[str, object], Columns, tuple[str, ...]]
"""Settings, columns that all units share, names of the values of each unit."""

Names = Callable[[str, Path], str]
"""What messages call a store, or the file that something of a kind (such as "run") came from."""


def _path(what: str, path: Path) -> str:
    return str(path)


def _equal(one: object, two: object) -> bool:
    """Equal bit for bit, also inside tuples and mappings; arrays of texts by value."""
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return _bits(cast(np.ndarray, one)) == _bits(cast(np.ndarray, two))
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        fields, others = cast(Mapping[str, object], one), cast(Mapping[str, object], two)
        return fields.keys() == others.keys() and all(_equal(value, others[name]) for name, value in fields.items())
    if isinstance(one, tuple) and isinstance(two, tuple):
        mine, other = cast("tuple[object, ...]", one), cast("tuple[object, ...]", two)
        return len(mine) == len(other) and all(map(_equal, mine, other))
    return one == two


def _bits(values: np.ndarray) -> tuple[str, tuple[int, ...], object]:
    """Type, shape and content, such that equal means equal bit for bit."""
    return str(values.dtype), values.shape, values.tolist() if values.dtype == object else values.tobytes()


@dataclass
class MergeSummary:
    """What a merge makes: counts of the new store, how much several stores hold, and where their experiments differ."""

    store: str
    sources: list[str]
    prompts: int = 0
    units: int = 0
    evaluations: int = 0
    runs: int = 0
    in_several: int = 0
    new: int = 0
    """How much the first store does not hold."""
    notes: list[str] = field(default_factory=list[str])


def imported(store: Store) -> bool:
    """Whether a store was made from files by `inoc import`."""
    return store.identity.get("source") == "import"


def judged_traits(store: Store) -> set[str]:
    """The names of the traits that have scores."""
    places = ["elicitation"] if store.has("elicitation") else []
    places += [f"runs/{run}" for run in store.runs]
    return {name for where in places for name in store.labels(f"{where}/trait")}


def _settings(store: Store) -> dict[str, object]:
    """The settings that decide what is stored. Of an import it is the model, where its files name one: the rest of its
    identity are hashes of content, which is compared itself."""
    if not imported(store):
        return dict(store.identity)
    model = store.identity.get("model", UNKNOWN)
    return {"source": "import", **({} if model == UNKNOWN else {"model": model})}


def _compare_settings(stores: Sequence[Store], names: Names) -> None:
    """Identities, traits and prompts agree, and every group is one that is merged."""
    first = stores[0]
    for store in stores:
        unknown = [group for group in GROUPS if store.has(group) and group not in HANDLED]
        if unknown:
            raise BadInput(f"{store.path}: the group {unknown[0]} cannot be merged yet. Fix: make it after merging.")
        old, new = _settings(first), _settings(store)
        if imported(first) and imported(store) and len(old) != len(new):
            old, new = ({"source": "import"},) * 2  # the files of one of them name no model
        lines = difference(old, new)
        traits = {t.name: t for t in first.measured}
        lines += [
            f"traits.{t.name}: {tuple(traits[t.name])} and {tuple(t)}"
            for t in store.measured
            if traits.get(t.name, t) != t
        ]
        if lines:
            raise OtherSettings(
                f"{names('', first.path)} (first) and {names('', store.path)} (now) were made with other settings. "
                "Fix: merge stores of one study.\n  " + "\n  ".join(lines)
            )


class Rows(Generic[V]):
    """Values by key from several stores; the same key must have the same values everywhere."""

    def __init__(self, what: str, names: Names) -> None:
        self.what, self.several = what, 0
        self.values: dict[Key, V] = {}
        self._names = names
        self._from: dict[Key, Path] = {}

    def add(self, store: Store, key: Key, value: V) -> None:
        """Add a value, or compare it with the one another store holds."""
        if key not in self.values:
            self.values[key], self._from[key] = value, store.path
            return
        self.several += 1
        if not _equal(self.values[key], value):
            name = "/".join(str(part) or "default" for part in key)
            raise self._differ(name, (self._from[key], self.values[key]), (store.path, value))

    def new(self, first: Path) -> int:
        """How many values are not from this store."""
        return sum(path != first for path in self._from.values())

    def _differ(self, name: str, *found: tuple[Path, object]) -> OtherSettings:
        said = [f"{self._names(self.what, path)}{_size(value)}" for path, value in found]
        one, two = (_first(value) for _, value in found)
        lines: list[str] = []
        if isinstance(one, RunInfo) and isinstance(two, RunInfo):
            lines = difference(one.attributes, two.attributes)
        return OtherSettings(
            f"{self.what} {name}: {' and '.join(said)} hold different values{f' ({lines[0]})' if lines else ''}. "
            "Fix: delete or make again the one that is wrong; nothing chooses for you."
        )


def _first(value: object) -> object:
    """The first of several values."""
    several = cast("tuple[object, ...]", value) if isinstance(value, tuple) else (value,)
    return several[0] if several else None


def _size(value: object) -> str:
    """How many values there are, in parentheses, where that can be said."""
    first = _first(value)
    return f" ({cast(np.ndarray, first).size} values)" if isinstance(first, np.ndarray) else ""


class Merged:
    """The content of several stores of one study, which are only read and which messages call by `names`. Small tables
    are kept; units are read one at a time. OtherSettings where two hold different data of the same thing."""

    def __init__(self, stores: Sequence[Store], names: Names = _path) -> None:
        _compare_settings(stores, names)
        self.stores, self._names = stores, names
        self._completed = 0
        self.prompts = Rows[PromptInfo]("prompt", names)
        self.pools = Rows[tuple[str, ...]]("rephrasings of", names)
        self.completions = Rows[np.ndarray]("completion set", names)
        self.runs = Rows[RunPlan]("run", names)
        self.losses = Rows[np.ndarray]("loss", names)
        self.evaluations = Rows[Arrays]("evaluation", names)
        self.judgments = Rows[Arrays]("judgment", names)
        self.probes = Rows[Probed]("probe", names)
        self.probed = Rows[Arrays]("unit of probe", names)
        self.elicited = Rows[Arrays]("elicitation", names)
        self.baseline = Rows[np.ndarray]("elicitation", names)
        self.sampling = Rows[Mapping[str, object]]("elicitation", names)
        self.counts = Rows[tuple[Columns, Mapping[str, object]]]("prefill counts of", names)
        self.perplexity = Rows[Columns]("self-perplexity of", names)
        self.embedded = Rows[Columns]("embedding of", names)
        for store in stores:
            self._small_tables(store)
            for name in store.runs:
                self._run(store, name)
            for name in store.subgroups("probes"):
                self._probe(store, name)

    def _small_tables(self, store: Store) -> None:
        for row in stored_prompts(store):
            self._prompt(store, row)
        for key, pool in store.rephrasings.items():
            self.pools.add(store, (key,), pool)
        for name in store.subgroups("completions"):
            where = f"completions/{name}"
            for column in COMPLETION_COLUMNS:
                if store.has(f"{where}/{column}"):
                    self.completions.add(store, (name, column), store.read(f"{where}/{column}"))
        for name in store.subgroups("emergence"):
            where = f"emergence/{name}"
            columns = {column: store.read(f"{where}/{column}") for column in store.variables(where)}
            self.counts.add(store, (name,), (columns, store.attributes(where)))
        if store.has("elicitation"):
            self._elicitation(store)
        for rows, group in ((self.perplexity, "self_perplexity"), (self.embedded, "embeddings")):
            columns = [name for name in store.variables(group) if name != "prompt"] if store.has(group) else []
            tables = {name: store.read(f"{group}/{name}") for name in columns}
            for p, key in enumerate(store.labels(f"{group}/prompt") if columns else ()):
                rows.add(store, (key,), {name: np.asarray(table[p]) for name, table in tables.items()})

    def _prompt(self, store: Store, row: PromptInfo) -> None:
        """Add a prompt; what one store does not know of it, another may."""
        known = self.prompts.values.get((row.key,))
        if known is not None:
            self.prompts.values[row.key,], row = _completed(known, row), _completed(row, known)
            self._completed += self.prompts.values[row.key,] != known
        self.prompts.add(store, (row.key,), row)

    def _elicitation(self, store: Store) -> None:
        for variable in ("trait", "instruction", "judge"):
            self.baseline.add(store, (variable,), store.read(f"elicitation/{variable}"))
        sampling = cast("dict[str, object]", store.attributes("elicitation").get("sampling") or {})
        self.sampling.add(store, ("sampling",), sampling)
        baseline = store.read("elicitation/baseline")
        if not np.isnan(baseline).all():
            self.baseline.add(store, ("baseline",), baseline)
        score = store.read("elicitation/score")
        cover = store.read("elicitation/coverage") if store.has("elicitation/coverage") else np.full_like(score, np.nan)
        for p, key in enumerate(store.labels("elicitation/prompt")):
            self.elicited.add(store, (key,), (score[:, p], cover[:, p]))

    def _run(self, store: Store, name: str) -> None:
        where, info = f"runs/{name}", store.run(name)
        conditions, traits, instructions, judges = (
            store.labels(f"{where}/{v}") for v in ("condition", "trait", "instruction", "judge")
        )
        (questions, files), texts = store.answered(name), store.has(f"{where}/generation")
        plan = RunPlan(
            **vars(info), traits=traits, instructions=instructions, questions=questions, files=files, steps=(),
            conditions=conditions, at_last=_at_last(store, name, info), generations=texts,
            judges=dict(zip(traits, judges, strict=True)),
        )  # fmt: skip
        self.runs.add(store, (name,), plan)
        steps, marks = store.read(f"{where}/step"), store.marks(where, "unit_crc")
        values = [store.read(f"{where}/{v}") for v in ("score", "coverage", *(["generation"] if texts else []))]
        for s, c in np.argwhere(marks != PENDING).tolist():
            self.evaluations.add(store, (name, int(steps[s]), conditions[c]), tuple(v[s, c] for v in values))
        for update, *row in zip(
            *(store.read(f"{where}/{v}") for v in ("update", "loss", "learning_rate")), strict=True
        ):
            self.losses.add(store, (name, int(update)), np.asarray(row, np.float64))
        for (score, judge), rows in judgments(store, name).items():
            for s, c in np.argwhere(rows.done).tolist():
                key = name, int(rows.steps[s]), rows.conditions[c], score, judge
                self.judgments.add(store, key, (rows.value[s, c], rows.coverage[s, c]))

    def _probe(self, store: Store, name: str) -> None:
        where = f"probes/{name}"
        members = [member.where for member in store.members(where, "unit_crc")]
        whole = [v for v in store.variables(where) if f"{where}/{v}" not in members and v not in (*_UNIT, "unit_crc")]
        columns = {variable: store.read(f"{where}/{variable}") for variable in whole}
        values = tuple(member.rpartition("/")[2] for member in members)
        settings = cast(Mapping[str, object], store.attributes(where)["settings"])
        self.probes.add(store, (name,), (settings, columns, values))
        kinds, keys = (store.labels(f"{where}/{variable}") for variable in _UNIT)
        tables = [store.read(member) for member in members]
        for f, p in np.argwhere(store.marks(where, "unit_crc") != PENDING).tolist():
            self.probed.add(store, (name, kinds[f], keys[p]), tuple(np.asarray(table[f, p]) for table in tables))

    def units(self) -> Iterator[tuple[Level, Unit, list["_Found"]]]:
        """Level, unit and its values in every store that has it done."""
        for level, group in LOGPROB_GROUP.items():
            for name in union(*(store.subgroups(group) for store in self.stores)):
                where = f"{group}/{name}"
                holders = [_Units(store, where) for store in self.stores if store.has(where)]
                for unit in union(*(list(holder.done) for holder in holders)):
                    yield level, Unit(name, *unit), [holder.read(unit) for holder in holders if unit in holder.done]

    def compare(self, summary: MergeSummary) -> None:
        """Compare what several stores hold, and count."""
        first = self.stores[0].path
        tables = (self.prompts, self.pools, self.completions, self.evaluations, self.elicited, self.perplexity,
                  self.judgments, self.probed, self.embedded)  # fmt: skip
        summary.in_several = sum(rows.several for rows in tables)
        summary.new = sum(
            rows.new(first)
            for rows in (*tables, self.runs, self.losses, self.baseline, self.sampling, self.counts, self.probes)
        )
        summary.new += self._completed + (self.traits != list(self.stores[0].measured))
        summary.new += self.identity != self.stores[0].identity
        for level, unit, found in self.units():
            summary.units += 1
            summary.in_several += len(found) - 1
            summary.new += found[0].path != first or (not found[0].known and any(one.known for one in found))
            for other in found[1:]:
                if not _same_unit(found[0], other):
                    name = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
                    said = [f"{self._names('unit', one.path)} ({one.values.size} values)" for one in (found[0], other)]
                    raise OtherSettings(
                        f"unit {name} ({level} level): {' and '.join(said)} hold different values. "
                        "Fix: make again the one that is wrong; nothing chooses for you."
                    )
        summary.prompts, summary.runs = len(self.prompts.values), len(self.runs.values)
        summary.evaluations = len(self.evaluations.values)

    @property
    def traits(self) -> list[ScoreInfo]:
        """The traits of all, without those that have no scores and another name in another store."""
        judged = {name for store in self.stores for name in judged_traits(store)}
        every = {trait.name: trait for store in self.stores for trait in store.measured}.values()
        named = {(trait.role, trait.family) for trait in every if trait.name in judged}
        return [t for t in every if t.name in judged or (t.role, t.family) not in named]

    @property
    def experiment(self) -> Mapping[str, object]:
        """The experiment of the first store; of imports, of the first whose files name a model."""
        known = [store for store in self.stores if store.identity.get("model") != UNKNOWN]
        return (known or self.stores)[0].experiment

    @property
    def identity(self) -> Mapping[str, object]:
        """The identity of all; of imports, the hashes of what they hold together."""
        if not imported(self.stores[0]):
            return self.stores[0].identity
        sets: dict[str, dict[str, np.ndarray]] = {}
        for (name, column), values in self.completions.values.items():
            sets.setdefault(str(name), {})[str(column)] = values
        prompts = {prompt.key: prompt.text for prompt in self.prompts.values.values()}
        pools = {str(key): pool for (key,), pool in self.pools.values.items()}
        fingerprints = {
            name: completions_fingerprint(
                [str(label) for label in columns["example_id"]], columns.get("row_size"), columns.get("token_id"),
                [str(text) for text in columns["completion"]] if "completion" in columns else None,
            )
            for name, columns in sets.items()
        }  # fmt: skip
        return imported_identity(str(self.experiment["model"]), fingerprints, prompts, pools)


def _at_last(store: Store, name: str, info: RunInfo) -> tuple[str, ...]:
    """The conditions of a run that are evaluated at its nominal step only."""
    if not store.has(f"runs/{name}/planned"):
        return ()
    other = store.read(f"runs/{name}/step") != info.nominal_step
    conditions, planned = store.labels(f"runs/{name}/condition"), store.planned(name)
    return tuple(c for i, c in enumerate(conditions) if other.any() and not planned[other, i].any())


def _completed(row: PromptInfo, other: PromptInfo) -> PromptInfo:
    """A prompt with what it lacks from another row of it."""
    return PromptInfo(*(b if a == none else a for a, b, none in zip(row, other, PromptInfo("", ""), strict=True)))


class _Found(NamedTuple):
    """A unit as one store has it: values, and which rephrasing each example got."""

    path: Path
    values: np.ndarray
    picks: np.ndarray | None

    @property
    def known(self) -> bool:
        """Whether the store knows which rephrasings the examples got."""
        return self.picks is not None and bool((self.picks >= 0).any())


def _same_unit(one: _Found, two: _Found) -> bool:
    return _equal(one.values, two.values) and (not one.known or not two.known or _equal(one.picks, two.picks))


class _Units:
    """The units of one group of log-probabilities of one store."""

    def __init__(self, store: Store, where: str) -> None:
        self._path = store.path
        self._arrays = {name: store.array(f"{where}/{name}") for name in ("default", "prefixed")}
        self._picks = store.array(f"{where}/rephrasing") if store.has(f"{where}/rephrasing") else None
        kinds, keys = (store.labels(f"{where}/{v}") for v in ("prefix_type", "prompt"))
        marks = {marker: store.marks(where, marker) for marker in marked(where)}
        self.done: dict[tuple[str, str], tuple[int, ...]] = {}
        if int(marks["default_crc"]) != PENDING:
            self.done["none", ""] = ()
        for f, p in np.argwhere(marks["unit_crc"] != PENDING):
            self.done[kinds[f], keys[p]] = (int(f), int(p))

    def read(self, unit: tuple[str, str]) -> _Found:
        cell = self.done[unit]
        values = self._arrays["prefixed" if cell else "default"][(*cell, slice(None))]
        picks = self._picks[cell[1]] if self._picks is not None and unit[0] == "mix" else None
        return _Found(self._path, values, picks)
