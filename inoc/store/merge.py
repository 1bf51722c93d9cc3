"""Stores of one study that was split over machines become one store again.

Everything is compared before anything is written: what two stores both hold must be equal bit for bit.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

import numpy as np

from inoc._version import __version__
from inoc.errors import BadInput, OtherSettings
from inoc.store.fingerprint import difference
from inoc.store.placing import put_in_place
from inoc.store.runs import RunInfo, RunPlan
from inoc.store.schema import GROUPS, LOGPROB_GROUP, PENDING, Level, PromptInfo, ScoreInfo, Unit, marked
from inoc.store.store import Store
from inoc.store.tables import put_group, union
from inoc.store.validate import validate
from inoc.store.writer import StoreWriter

_PROMPT = ("prompt", "text", "group", "family", "role")
COMPLETION_COLUMNS = ("example_id", "row_size", "token_id", "instruction", "completion")
HANDLED = frozenset(
    ("prompts", "completions", *LOGPROB_GROUP.values(), "elicitation", "runs", "rephrasings", "self_perplexity",
     "embeddings", "emergence")
)  # fmt: skip
"""Groups that are merged; a store with another one is refused, so that nothing is left out silently."""


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
    notes: list[str] = field(default_factory=list[str])


def merge(sources: Sequence[Path], target: Path, *, dry_run: bool = False) -> MergeSummary:
    """Merge stores into a new one.

    Args:
        sources: Two stores or more; they are only read.
        target: Where the new store is made; nothing may be there.
        dry_run: Compare and count, write nothing.

    Returns:
        What the new store holds.

    Raises:
        BadInput: A source is named twice or damaged, or the target exists.
        OtherSettings: Identities differ (field by field), or two stores hold different data of the same unit, which
            the message names.
    """
    if len({path.resolve() for path in sources}) < max(2, len(sources)):
        raise BadInput("merging takes two different stores or more. Fix: name each store once.")
    if target.exists():
        raise BadInput(f"{target} exists already. Fix: choose another place with -o.")
    for path in sources:
        problems = validate(path)
        if problems:
            raise BadInput(f"{path} is damaged: {problems[0]} Fix: see what `inoc validate` lists.")
    stores = [Store(path) for path in sources]
    _compare_settings(stores)
    merged = _Merged(stores)
    summary = MergeSummary(str(target), [str(path) for path in sources])
    summary.notes += [
        f"{store.path}: its experiment differs from that of {stores[0].path}: {line}"
        for store in stores[1:]
        for line in difference(stores[0].experiment, store.experiment)
    ]
    merged.compare(summary)
    if not dry_run:
        put_in_place(target, merged.write)
    return summary


def _compare_settings(stores: Sequence[Store]) -> None:
    """Identities, traits and prompts agree, and every group is one that is merged."""
    first = stores[0]
    for store in stores:
        unknown = [group for group in GROUPS if store.has(group) and group not in HANDLED]
        if unknown:
            raise BadInput(f"{store.path}: the group {unknown[0]} cannot be merged yet. Fix: make it after merging.")
        lines = difference(first.identity, store.identity)
        traits = {t.name: t for t in first.measured}
        lines += [
            f"traits.{t.name}: {tuple(traits[t.name])} and {tuple(t)}"
            for t in store.measured
            if traits.get(t.name, t) != t
        ]
        if lines:
            raise OtherSettings(
                f"{first.path} (first) and {store.path} (now) were made with other settings. Fix: merge stores of one "
                "study.\n  " + "\n  ".join(lines)
            )


class _Rows:
    """Values by key from several stores; the same key must have the same values everywhere."""

    def __init__(self, what: str) -> None:
        self.what, self.several = what, 0
        self.values: dict[tuple[str | int, ...], object] = {}
        self._from: dict[tuple[str | int, ...], Path] = {}

    def add(self, store: Store, key: tuple[str | int, ...], value: object) -> None:
        """Add a value, or compare it with the one another store holds."""
        if key not in self.values:
            self.values[key], self._from[key] = value, store.path
            return
        self.several += 1
        if not _equal(self.values[key], value):
            name = "/".join(str(part) or "default" for part in key)
            raise OtherSettings(
                f"{self.what} {name}: {self._from[key]} and {store.path} hold different values. "
                "Fix: delete or make again the one that is wrong; a merge does not choose."
            )


def _equal(one: object, two: object) -> bool:
    """Equal bit for bit; arrays of texts and mappings by value."""
    if isinstance(one, np.ndarray) and isinstance(two, np.ndarray):
        return _bits(cast(np.ndarray, one)) == _bits(cast(np.ndarray, two))
    if isinstance(one, tuple) and isinstance(two, tuple):
        mine, other = cast("tuple[object, ...]", one), cast("tuple[object, ...]", two)
        return len(mine) == len(other) and all(map(_equal, mine, other))
    return one == two


def _bits(values: np.ndarray) -> tuple[str, tuple[int, ...], object]:
    """Type, shape and content, such that equal means equal bit for bit."""
    return str(values.dtype), values.shape, values.tolist() if values.dtype == object else values.tobytes()


class _Merged:
    """The content of several stores. Small tables are kept; units are read one at a time."""

    def __init__(self, stores: Sequence[Store]) -> None:
        self.stores = stores
        self.prompts, self.pools = _Rows("prompt"), _Rows("rephrasings of")
        self.completions, self.runs = _Rows("completion set"), _Rows("run")
        self.losses, self.evaluations = _Rows("loss"), _Rows("evaluation")
        self.elicited, self.baseline = _Rows("elicitation"), _Rows("elicitation")
        self.counts = _Rows("prefill counts of")
        self.perplexity, self.embedded = _Rows("self-perplexity of"), _Rows("embedding of")
        for store in stores:
            self._small_tables(store)
            for name in store.runs:
                self._run(store, name)

    def _small_tables(self, store: Store) -> None:
        if store.has("prompts"):
            for row in zip(*(store.labels(f"prompts/{c}") for c in _PROMPT), strict=True):
                self.prompts.add(store, (row[0],), PromptInfo(*row))
        for key, pool in store.rephrasings.items():
            self.pools.add(store, (key,), pool)
        for name in store.subgroups("completions"):
            where = f"completions/{name}"
            self.completions.add(
                store,
                (name,),
                tuple((c, store.read(f"{where}/{c}")) for c in COMPLETION_COLUMNS if store.has(f"{where}/{c}")),
            )
        for name in store.subgroups("emergence"):
            where = f"emergence/{name}"
            columns = tuple((column, store.read(f"{where}/{column}")) for column in store.variables(where))
            self.counts.add(store, (name,), (columns, store.attributes(where)))
        if store.has("elicitation"):
            self._elicitation(store)
        for rows, group in ((self.perplexity, "self_perplexity"), (self.embedded, "embeddings")):
            columns = [name for name in store.variables(group) if name != "prompt"] if store.has(group) else []
            tables = {name: store.read(f"{group}/{name}") for name in columns}
            for p, key in enumerate(store.labels(f"{group}/prompt") if columns else ()):
                rows.add(store, (key,), tuple((name, np.asarray(table[p])) for name, table in tables.items()))

    def _elicitation(self, store: Store) -> None:
        labels = tuple(store.labels(f"elicitation/{v}") for v in ("trait", "instruction", "judge"))
        sampling = tuple(
            sorted(cast("dict[str, object]", store.attributes("elicitation").get("sampling") or {}).items())
        )
        self.baseline.add(store, ("labels",), (*labels, sampling))
        baseline = store.read("elicitation/baseline")
        if not np.isnan(baseline).all():
            self.baseline.add(store, ("baseline",), baseline)
        score = store.read("elicitation/score")
        cover = store.read("elicitation/coverage") if store.has("elicitation/coverage") else np.full_like(score, np.nan)
        for p, key in enumerate(store.labels("elicitation/prompt")):
            self.elicited.add(store, (key,), (score[:, p], cover[:, p]))

    def _run(self, store: Store, name: str) -> None:
        where, info = f"runs/{name}", store.run(name)
        labels = tuple(store.labels(f"{where}/{v}") for v in ("condition", "trait", "instruction", "judge"))
        texts = store.has(f"{where}/generation")
        labels += (*store.answered(name), _at_last(store, name, info))
        self.runs.add(store, (name,), (info, labels, texts))
        steps, marks = store.read(f"{where}/step"), store.marks(where, "unit_crc")
        values = [store.read(f"{where}/{v}") for v in ("score", "coverage", *(["generation"] if texts else []))]
        for s, c in np.argwhere(marks != PENDING).tolist():
            self.evaluations.add(store, (name, int(steps[s]), labels[0][c]), tuple(v[s, c] for v in values))
        for update, *row in zip(
            *(store.read(f"{where}/{v}") for v in ("update", "loss", "learning_rate")), strict=True
        ):
            self.losses.add(store, (name, int(update)), np.asarray(row, np.float64))

    def units(self) -> Iterator[tuple[Level, Unit, list[tuple[np.ndarray, np.ndarray | None]]]]:
        """Level, unit and its values (with rephrasings) in every store that has it done."""
        for level, group in LOGPROB_GROUP.items():
            for name in union(*(store.subgroups(group) for store in self.stores)):
                where = f"{group}/{name}"
                holders = [_Units(store, where) for store in self.stores if store.has(where)]
                done = union(*(list(holder.done) for holder in holders))
                for unit in done:
                    yield level, Unit(name, *unit), [holder.read(unit) for holder in holders if unit in holder.done]

    def compare(self, summary: MergeSummary) -> None:
        """Compare what several stores hold, and count."""
        tables = (self.prompts, self.pools, self.completions, self.evaluations, self.elicited, self.perplexity)
        summary.in_several = sum(rows.several for rows in (*tables, self.embedded))
        for level, unit, found in self.units():
            summary.units += 1
            summary.in_several += len(found) - 1
            if any(not _equal(found[0], other) for other in found[1:]):
                name = f"{unit.completion_set}/{unit.prefix_type}/{unit.prompt or 'default'}"
                raise OtherSettings(
                    f"unit {name} ({level} level): the stores hold different values. "
                    "Fix: make again the one that is wrong; a merge does not choose."
                )
        summary.prompts, summary.runs = len(self.prompts.values), len(self.runs.values)
        summary.evaluations = len(self.evaluations.values)

    def write(self, place: Path) -> None:
        """Write everything to a new store."""
        first = self.stores[0]
        traits = {t.name: t for store in self.stores for t in store.measured}
        with StoreWriter.open(
            place,
            identity=first.identity,
            experiment=first.experiment,
            provenance={
                "inoc": __version__,
                "merged": [{"provenance": dict(s.provenance), "history": s.history} for s in self.stores],
            },
            traits=[ScoreInfo(*t) for t in traits.values()],
            command="inoc merge",
        ) as writer:
            writer.put_prompts([cast(PromptInfo, row) for row in self.prompts.values.values()])
            if self.pools.values:
                writer.put_rephrasings({str(k[0]): cast("tuple[str, ...]", v) for k, v in self.pools.values.items()})
            self._write_units(writer)
            self._write_elicitation(writer)
            for rows, put in ((self.perplexity, _put_perplexity), (self.embedded, _put_embeddings)):
                for key, columns in rows.values.items():
                    put(writer, str(key[0]), dict(cast("tuple[tuple[str, np.ndarray], ...]", columns)))
            self._write_runs(writer)
            for (name,), found in self.counts.values.items():
                columns, attributes = cast("tuple[tuple[tuple[str, np.ndarray], ...], dict[str, object]]", found)
                put_group(writer.store, f"emergence/{name}", dict(columns), attributes)

    def _write_units(self, writer: StoreWriter) -> None:
        for (name,), columns in self.completions.values.items():
            known = dict(cast("tuple[tuple[str, np.ndarray], ...]", columns))
            texts = {c: [str(t) for t in known[c]] for c in ("example_id", "instruction", "completion") if c in known}
            writer.put_completions(
                str(name), example_ids=texts["example_id"], row_size=known.get("row_size"),
                token_ids=known.get("token_id"), instructions=texts.get("instruction"),
                completions=texts.get("completion"),
            )  # fmt: skip
        for level, group in LOGPROB_GROUP.items():
            for name in union(*(store.subgroups(group) for store in self.stores)):
                where = f"{group}/{name}"
                holders = [store for store in self.stores if store.has(where)]
                kinds, keys = (
                    union(*(store.labels(f"{where}/{v}") for store in holders)) for v in ("prefix_type", "prompt")
                )
                picks = any(store.has(f"{where}/rephrasing") for store in holders)
                writer.plan(name, prefix_types=kinds, prompts=keys, level=level, rephrasings=picks)
        for level, unit, found in self.units():
            values, picks = found[0]
            writer.put_unit(unit, values, picks, level)

    def _write_elicitation(self, writer: StoreWriter) -> None:
        labels = self.baseline.values.get(("labels",))
        if labels is None:
            return
        traits, instructions, judges, sampling = cast("tuple[tuple[str, ...], ...]", labels)
        shape = (len(traits), 0, len(instructions))
        rows = [cast("tuple[np.ndarray, np.ndarray]", row) for row in self.elicited.values.values()]
        score, coverage = (np.stack([row[i] for row in rows], axis=1) if rows else np.empty(shape) for i in (0, 1))
        stored = any(store.has("elicitation/coverage") for store in self.stores)
        writer.put_elicitation(
            prompts=[str(key[0]) for key in self.elicited.values], traits=traits, instructions=instructions,
            score=score, coverage=coverage if stored else None, judges=judges,
            baseline=cast("np.ndarray | None", self.baseline.values.get(("baseline",))),
            sampling=dict(cast("tuple[tuple[str, object], ...]", sampling)),
        )  # fmt: skip

    def _write_runs(self, writer: StoreWriter) -> None:
        for (name,), found in self.runs.values.items():
            info, (conditions, traits, instructions, judges, questions, files, at_last), texts = cast(
                "tuple[RunInfo, tuple[tuple[str, ...], ...], bool]", found
            )
            steps = union(*(s.read(f"runs/{name}/step").tolist() for s in self.stores if s.has(f"runs/{name}")))
            writer.put_run(
                RunPlan(
                    str(name), info.prompt, info.prefix_type, info.seed, info.nominal_step,
                    settings=info.settings, sampling=info.sampling,
                    traits=traits, instructions=instructions, steps=steps, conditions=conditions,
                    questions=questions, files=files, at_last=at_last,
                    judges=dict(zip(traits, judges, strict=True)), generations=texts,
                )
            )  # fmt: skip
            losses = {k[1]: cast(np.ndarray, v) for k, v in self.losses.values.items() if k[0] == name}
            if losses:
                table = np.array(list(losses.values()))
                writer.append_losses(str(name), np.array(list(losses), np.int64), table[:, 0], table[:, 1])
        for (name, step, condition), found in self.evaluations.values.items():
            score, coverage, *texts = cast("tuple[np.ndarray, ...]", found)
            answers = [str(t) for t in texts[0]] if texts else None
            writer.put_scores(str(name), int(step), str(condition), score, coverage, generations=answers)


def _at_last(store: Store, name: str, info: RunInfo) -> tuple[str, ...]:
    """The conditions of a run that are evaluated at its nominal step only."""
    if not store.has(f"runs/{name}/planned"):
        return ()
    other = store.read(f"runs/{name}/step") != info.nominal_step
    conditions, planned = store.labels(f"runs/{name}/condition"), store.planned(name)
    return tuple(c for i, c in enumerate(conditions) if other.any() and not planned[other, i].any())


class _Units:
    """The units of one group of log-probabilities of one store."""

    def __init__(self, store: Store, where: str) -> None:
        self._arrays = {name: store.array(f"{where}/{name}") for name in ("default", "prefixed")}
        self._picks = store.array(f"{where}/rephrasing") if store.has(f"{where}/rephrasing") else None
        kinds, keys = (store.labels(f"{where}/{v}") for v in ("prefix_type", "prompt"))
        marks = {marker: store.marks(where, marker) for marker in marked(where)}
        self.done: dict[tuple[str, str], tuple[int, ...]] = {}
        if int(marks["default_crc"]) != PENDING:
            self.done["none", ""] = ()
        for f, p in np.argwhere(marks["unit_crc"] != PENDING):
            self.done[kinds[f], keys[p]] = (int(f), int(p))

    def read(self, unit: tuple[str, str]) -> tuple[np.ndarray, np.ndarray | None]:
        """The values of a unit, and which rephrasing each example got."""
        cell = self.done[unit]
        values = self._arrays["prefixed" if cell else "default"][(*cell, slice(None))]
        picks = self._picks[cell[1]] if self._picks is not None and unit[0] == "mix" else None
        return values, picks


def _put_perplexity(writer: StoreWriter, key: str, columns: Mapping[str, np.ndarray]) -> None:
    writer.put_self_perplexity([key], columns["raw"][None], columns["context"][None])


def _put_embeddings(writer: StoreWriter, key: str, columns: Mapping[str, np.ndarray]) -> None:
    others = {name: value[None] for name, value in columns.items() if name != "prompt_vector"}
    writer.put_embeddings([key], columns["prompt_vector"][None], others)
