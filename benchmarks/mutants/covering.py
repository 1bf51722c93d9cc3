"""Which tests run which lines, and how long they take: asked once for a room, kept until its code or tests change."""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mutations import Mutant

QUICK, ENOUGH = 2.0, 15.0  # seconds: what runs before all else, and what a mutant must survive


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
        """The tests that run the mutant, or where none does those that run its file: those of the test file named like
        it, then the quickest, until they take ENOUGH seconds together; those within QUICK first, the others by file."""
        of = self.lines.get(file, {})
        ran = {one for line in mutant.place.lines for one in of.get(str(line), ())} - {""}
        if not ran:
            ran = {one for names in of.values() for one in names} - {""}
        name = Path(file).stem.removesuffix("s")

        def near(test: str) -> tuple[bool, float]:
            return name not in Path(test.split("::")[0]).stem, self.cost(test)

        found = sorted((test for test, used in self.uses.items() if not ran.isdisjoint((test, *used))), key=near)
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


def _spent() -> float:
    """Seconds of processor time of this process and its children: what a test costs, however busy the machine is."""
    return sum(os.times()[:4])


class Recorder:
    """A plugin of pytest that notes which test, or fixture of more than one test, runs which lines."""

    def __init__(self, files: list[Path], data: Path) -> None:
        import coverage

        self.coverage = coverage.Coverage(data_file=str(data), include=list(map(str, files)), config_file=False)
        self.stack, self.since = [""], _spent()
        self.seconds: dict[str, float] = {}
        self.uses: dict[str, list[str]] = {}
        self.wrong: set[str] = set()

    def switch(self) -> None:
        now = _spent()
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
        self.uses[item.nodeid] = [f"fixture {name}" for name in item.fixturenames]
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
    """Changes with the name or the content of one of these files."""
    code = 0
    for place in sorted(places):
        code = zlib.crc32(place.encode() + (root / place).read_bytes(), code)
    return f"{code:08x}"


class Kept:
    """The map of a room as it is kept: asked anew where code or what tests share has changed, else for changed tests.

    Attributes:
        changed: Test files that are to be asked.
    """

    def __init__(self, memory: Path, root: Path, room: str, files: list[str], tests: list[str]) -> None:
        inside = {one for test in tests for one in (root / test).rglob("*") if one.suffix in (".py", ".json")}
        names = {str(one.relative_to(root)) for one in inside} | {test for test in tests if test.endswith(".py")}
        self.tests = {name: digest(root, [name]) for name in sorted(names) if Path(name).name.startswith("test_")}
        self.place = memory / f"map-{room}-{digest(root, [*files, *(names - self.tests.keys())])}.json"
        known = json.loads(self.place.read_text()) if self.place.exists() else {"map": None, "tests": {}}
        self.old = Map(**known["map"]) if known["map"] else Map({}, {}, {})
        self.changed = [name for name, code in self.tests.items() if known["tests"].get(name) != code]

    def write(self, new: Map) -> None:
        """Replace what is known of the changed files."""
        file_of = {test: test.split("::")[0] for test in self.old.uses}
        gone = {test for test, file in file_of.items() if file in self.changed or file not in self.tests}
        uses = {test: used for test, used in self.old.uses.items() if test not in gone} | new.uses
        lines: dict[str, dict[str, list[str]]] = {}
        for of in (self.old.lines, new.lines):
            for file, by_line in of.items():
                for line, who in by_line.items():
                    kept = [one for one in who if of is new.lines or one not in gone]
                    into = lines.setdefault(file, {}).setdefault(line, [])
                    into += [one for one in kept if one not in into]
        merged = Map(uses, self.old.seconds | new.seconds, lines)
        self.place.write_text(json.dumps({"map": asdict(merged), "tests": self.tests}))
