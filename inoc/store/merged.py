"""The content of several stores of one study as one: compared first, then written to a new store.

What two stores both hold must be equal bit for bit. `inoc merge` takes stores that were split over machines, `inoc
import --append` a store and one of what the files say.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from inoc.errors import BadInput, OtherSettings
from inoc.store.fingerprint import completions_fingerprint, difference, imported_identity
from inoc.store.merge_rows import Found, Names, Rows, Units, same_unit
from inoc.store.progress import Progress
from inoc.store.runs import RunInfo, RunPlan
from inoc.store.schema import GROUPS, LOGPROB_GROUP, PENDING, UNKNOWN, Level, PromptInfo, ScoreInfo, Unit
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
Arrays = tuple[np.ndarray, ...]
Columns = Mapping[str, np.ndarray]
Probed = tuple[Mapping[str, object], Columns, tuple[str, ...]]
"""Settings, columns that all units share, names of the values of each unit."""


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


def _path(what: str, path: Path) -> str:
    return str(path)


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

    def units(self, progress: Progress, what: str) -> Iterator[tuple[Level, Unit, list["Found"]]]:
        """Level, unit and its values in every store that has it done."""
        listed: list[tuple[Level, str, list[Units], tuple[str, str]]] = []
        for level, group in LOGPROB_GROUP.items():
            for name in union(*(store.subgroups(group) for store in self.stores)):
                where = f"{group}/{name}"
                holders = [Units(store, where) for store in self.stores if store.has(where)]
                for unit in union(*(list(holder.done) for holder in holders)):
                    listed.append((level, name, holders, unit))
        progress.begin(what, len(listed))
        for level, name, holders, unit in listed:
            yield level, Unit(name, *unit), [holder.read(unit) for holder in holders if unit in holder.done]
            progress.step(f"{name} {' '.join(unit)}".strip())

    def compare(self, summary: MergeSummary, progress: Progress) -> None:
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
        for level, unit, found in self.units(progress, "units to compare"):
            summary.units += 1
            summary.in_several += len(found) - 1
            summary.new += found[0].path != first or (not found[0].known and any(one.known for one in found))
            for other in found[1:]:
                if not same_unit(found[0], other):
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
