"""Which test catches which bug: shared by the tests, which compare, and by the page, which says it."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import ClassVar, NamedTuple

import pytest

from inoc.experiment import Experiment
from inoc.heuristics import heuristic
from inoc.heuristics.frame import registry
from inoc.testing import (
    AdapterConformance,
    HeuristicConformance,
    ImporterConformance,
    JudgeConformance,
    ProberConformance,
    SamplerConformance,
    ScorerConformance,
    TrainerConformance,
    small_store,
)

from . import bugs
from .doctors import examined, trained
from .fake import FakeBackend
from .suites import first_failure

BACKENDS: Mapping[type, tuple[type[FakeBackend], ...]] = {
    ScorerConformance: bugs.SCORES,
    SamplerConformance: bugs.SAMPLES,
    TrainerConformance: bugs.TRAINING,
    AdapterConformance: bugs.ADAPTERS,
    ProberConformance: bugs.PROBES,
}


class Sampling(SamplerConformance):
    draws: ClassVar[int] = 600


class Training(TrainerConformance):
    """With what a local backend is to others."""

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls) -> FakeBackend:
        return FakeBackend()


class Judging(JudgeConformance):
    less: ClassVar[str] = "No."
    more: ClassVar[str] = "Oui, bien sûr."


def importer_suite(importer: type) -> ImporterConformance:
    """Of files with two prompts and two examples."""
    suite = type("Importing", (ImporterConformance,), {"importer": importer})()
    assert isinstance(suite, ImporterConformance)
    return suite


class Tables:
    """Good files, written again for every test."""

    def __init__(self, folders: pytest.TempPathFactory) -> None:
        self.folders = folders

    def __call__(self) -> list[Path]:
        folder = self.folders.mktemp("tables")
        for name, prompts in (("one", ("", "kind")), ("two", ("rude",))):
            rows = [f"{example};{prompt};{-1 - len(example + prompt)}" for prompt in prompts for example in ("a", "bb")]
            (folder / f"{name}.txt").write_text("\n".join([bugs.Table.head, *rows, ""]))
        return [folder / "one.txt", folder / "two.txt"]


SETTINGS: Mapping[type, type] = {SamplerConformance: Sampling, TrainerConformance: Training, JudgeConformance: Judging}


def suite_of(kind: type) -> object:
    return SETTINGS.get(kind, kind)()


def name_of(kind: type) -> str:
    return kind.__name__.removesuffix("Conformance")


class Planted(NamedTuple):
    """A bug: the suite that it belongs to, and what is wrong."""

    kind: type
    bug: object

    @property
    def name(self) -> str:
        return str(getattr(self.bug, "__name__", ""))

    def caught(self, stores: Mapping[str, object], folders: pytest.TempPathFactory) -> str | None:
        """The first test that sees it, of its own suite, else of the sampler's; None where none does."""
        if self.kind is HeuristicConformance:
            with registered(self.bug) as names:
                found = first_failure(heuristics_suite(*names), stores, folders)
            return found and f"Heuristic: {found}"
        if self.kind is ImporterConformance:
            assert isinstance(self.bug, type)
            found = first_failure(importer_suite(self.bug), {"files": Tables(folders)}, folders)
            return found and f"Importer: {found}"
        if self.kind is JudgeConformance:
            assert isinstance(self.bug, type)
            others = [bugs.JudgeBase()] if self.bug is bugs.JudgeNameless else []
            found = first_failure(suite_of(self.kind), {"judge": self.bug(), "others": others}, folders)
            return found and f"Judge: {found}"
        assert isinstance(self.bug, type)
        for kind in (self.kind, *((SamplerConformance,) if self.kind is ScorerConformance else ())):
            found = first_failure(suite_of(kind), {"backend": self.bug()}, folders)
            if found:
                return f"{name_of(kind)}: {found}"
        return None

    def row(self, stores: Mapping[str, object], folders: pytest.TempPathFactory, study: Experiment) -> tuple[str, ...]:
        """What sees it: its suite, then `inoc doctor` (see `COLUMNS`); `no` where nothing does."""
        found: list[str | None] = [self.caught(stores, folders)]
        if self.kind in (ScorerConformance, SamplerConformance):
            found += [examined(self.bug(), study, reference=reference) for reference in (True, False)]  # type: ignore[operator]
        elif self.kind in (TrainerConformance, AdapterConformance):
            found.append(trained(self.bug(), study))  # type: ignore[operator]
        return tuple(cell or "no" for cell in found)


COLUMNS: Mapping[type, tuple[str, ...]] = {
    ScorerConformance: ("`inoc doctor`", "without a reference"),
    SamplerConformance: ("`inoc doctor`", "without a reference"),
    TrainerConformance: ("`inoc doctor --train`",),
    AdapterConformance: ("`inoc doctor --train`",),
}
"""What else looks for the bugs of each suite."""
PLANTED: tuple[Planted, ...] = (
    *(Planted(kind, bug) for kind, found in BACKENDS.items() for bug in found),
    *(Planted(HeuristicConformance, function) for function in bugs.HEURISTICS),
    *(Planted(JudgeConformance, bug) for bug in bugs.JUDGES),
    *(Planted(ImporterConformance, bug) for bug in bugs.IMPORTERS),
)


@contextmanager
def registered(*functions) -> Iterator[tuple[str, ...]]:
    """Heuristics of a test, forgotten afterwards."""
    registry.load()
    before = registry._declared.copy()
    try:
        for function in functions:
            heuristic(family="t", level="example", long_name="t", formula="t", units="1")(function)
        yield tuple(function.__name__ for function in functions)
    finally:
        registry._declared.__dict__.update(vars(before))


def heuristics_suite(*names: str) -> HeuristicConformance:
    suite = type("Suite", (HeuristicConformance,), {"names": names})()
    assert isinstance(suite, HeuristicConformance)
    return suite


def written_stores(folders: pytest.TempPathFactory) -> dict[str, object]:
    """The stores of the heuristics' suite, written once."""
    folder = folders.mktemp("stores")
    holed = small_store(folder / "holed.zarr", lost="applaud")
    return {"store": small_store(folder / "small.zarr"), "holed": holed}
