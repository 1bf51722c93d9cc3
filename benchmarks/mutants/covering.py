"""Which tests run which lines, and how long they take: asked once for a room, kept until its code or tests change."""

import json
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mutations import Mutant

QUICK, ENOUGH = 2.0, 60.0  # seconds: what runs before all else, and what a mutant must survive


@dataclass(frozen=True)
class Map:
    """For each test the fixtures it uses, for each test and fixture its seconds, for each line who runs it."""

    uses: dict[str, list[str]]
    seconds: dict[str, float]
    lines: dict[str, dict[str, list[str]]]

    def at_import(self, file: str, mutant: "Mutant") -> bool:
        """Whether the function of a mutant, if it has one, ran before the first test."""
        of, place = self.lines.get(file, {}), mutant.place
        return place.function is None or any("" in of.get(str(line), ()) for line in place.body)

    def cost(self, test: str) -> float:
        return sum(self.seconds.get(one, 0.0) for one in (test, *self.uses[test]))

    def tests(self, file: str, mutant: "Mutant") -> list[str]:
        """The tests that run the mutant, or where none does those that run its file: the quickest of each file first,
        then file by file, until they take ENOUGH seconds together."""
        of = self.lines.get(file, {})
        ran = {one for line in mutant.place.lines for one in of.get(str(line), ())} - {""}
        if not ran:
            ran = {one for names in of.values() for one in names} - {""}
        found = sorted((test for test, used in self.uses.items() if not ran.isdisjoint((test, *used))), key=self.cost)
        kept: list[str] = []
        paid: set[str] = set()
        total, quick = 0.0, 0
        for test in found:
            new = {test, *self.uses[test]} - paid
            more = sum(self.seconds.get(one, 0.0) for one in new)
            if kept and total + more > ENOUGH:
                continue
            total, paid = total + more, paid | new
            kept.append(test)
            quick += total <= QUICK
        return [*_by_file(kept[:quick]), *_by_file(kept[quick:])]


def _by_file(tests: list[str]) -> list[str]:
    files = list(dict.fromkeys(test.split("::")[0] for test in tests))
    return sorted(tests, key=lambda test: files.index(test.split("::")[0]))


class Recorder:
    """A plugin of pytest that notes which test, or fixture of more than one test, runs which lines."""

    def __init__(self, files: list[Path], data: Path) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=str(data), include=list(map(str, files)), config_file=False)
        self.stack, self.since = [""], time.monotonic()
        self.seconds: dict[str, float] = {}
        self.uses: dict[str, list[str]] = {}
        self.wrong: set[str] = set()

    def switch(self) -> None:
        now = time.monotonic()
        self.seconds[self.stack[-1]] = self.seconds.get(self.stack[-1], 0.0) + now - self.since
        self.since = now

    @contextmanager
    def within(self, name: str) -> Iterator[None]:
        self.switch()
        self.stack.append(name)
        self.coverage.switch_context(name)
        try:
            yield
        finally:
            self.switch()
            self.stack.pop()
            self.coverage.switch_context(self.stack[-1])

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Iterator[None]:
        self.uses[item.nodeid] = [f"fixture {name}" for name in item.fixturenames]  # pyright: ignore
        with self.within(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(self, fixturedef: Any) -> Iterator[Any]:
        if fixturedef.scope == "function":
            return (yield)
        with self.within(f"fixture {fixturedef.argname}"):
            return (yield)

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not report.passed:
            self.wrong.add(report.nodeid)

    def map(self, root: Path) -> Map:
        """What was noted, of the tests that passed."""
        data = self.coverage.get_data()
        lines = {
            str(Path(file).relative_to(root)): {str(n): who for n, who in data.contexts_by_lineno(file).items()}
            for file in data.measured_files()
        }
        uses = {test: used for test, used in self.uses.items() if test not in self.wrong}
        named = {one for used in uses.values() for one in used} & self.seconds.keys()
        return Map({test: [u for u in used if u in named] for test, used in uses.items()}, self.seconds, lines)


def digest(root: Path, places: list[str]) -> str:
    """Changes with the name or the content of a file in these places."""
    files = {file for place in places for file in [root / place, *(root / place).rglob("*")] if file.is_file()}
    code = 0
    for file in sorted(file for file in files if file.suffix in (".py", ".json")):
        code = zlib.crc32(str(file.relative_to(root)).encode() + file.read_bytes(), code)
    return f"{code:08x}"


def load(place: Path) -> Map:
    return Map(**json.loads(place.read_text()))
