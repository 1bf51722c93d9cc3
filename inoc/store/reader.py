"""What one store holds: sets, units, runs and probes, planned and done; what writing, validating and the labeled views
rest on."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import cast

import numpy as np
from jaxtyping import Bool

from inoc.errors import BadInput, BrokenStore, IncompleteStore
from inoc.names import unknown
from inoc.store import v1
from inoc.store.arrays import Axes, ExampleArrays, StoredArray, TokenArrays
from inoc.store.history import Entry, entries
from inoc.store.runs import RunInfo
from inoc.store.schema import COMPLETION_SETS, LOGPROB_GROUP, PENDING, Level, ScoreInfo, Unit, known_first, named_scores
from inoc.store.tree import Marks, Tree, steadily


class Reader(Tree):
    """A store's contents. The root and `rephrasings` are kept; all else is read when asked for."""

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
