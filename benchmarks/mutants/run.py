"""`make mutants`: plant small faults in the code one by one; a fault that no test sees is a survivor.

    python benchmarks/mutants/run.py [ROOM ...] [--sample 150] [--seed 0] [--workers 2] [--minutes 55] [--planted]

The tests of a room run once to see which of them run which lines. For a mutant, the tests that run its line run, the
quickest first, in a fork of a process that has imported everything: one function has other code there. What runs at
import is imported anew. The reference data are not used.

`.mutants/` keeps the maps of lines and the results: a killed mutant is asked again when its file has changed, a
survivor each time. `REPORT.md` is made from them. `equivalent.toml` lists mutants that change nothing, with the reason;
`planted.toml` lists faults with a name, which `--planted` plants.
"""

import argparse
import contextlib
import fcntl
import hashlib
import importlib
import json
import os
import queue
import random
import shutil
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Iterator, Mapping
from multiprocessing import Pipe, Process, Queue
from multiprocessing.connection import Connection
from pathlib import Path

from covering import Kept, Map, Recorder
from forks import ELSEWHERE, OPTIONS, PASSED, Server, blamed, forked, fresh, module_name
from mutations import Mutant, mutants
from report import HERE, MEMORY, ROOT, Entry, equivalents, key, planted, report, rooms, same

LIBRARIES = ("numpy", "scipy.stats", "xarray", "jax", "pydantic", "hypothesis", "torch", "transformers", "peft", "zarr")
Job = tuple[Entry, Mutant, list[str]]
"""A mutant, and the tests to ask where they are named."""


def tree(place: Path) -> Path:
    """A copy of all that git knows or would add."""
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in listed.stdout.splitlines():
        if (ROOT / name).is_file():
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, place / name)
    return place


class Worker:
    """A copy of the tree, the large libraries, and a server with everything imported (started when it is needed)."""

    def __init__(self, copy: Path) -> None:
        os.environ.pop("INOC_REFERENCE_DATA", None)
        self.copy, self.rooms, self.number = tree(copy), rooms(), 0
        self.maps: dict[str, Map] = {}
        self.servers: dict[str, Connection] = {}
        self.right: dict[tuple[str, ...], bool] = {}
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)
        sys.path[:0] = [str(copy)]
        for name in LIBRARIES:
            importlib.import_module(name)

    def options(self) -> list[str]:
        return [*OPTIONS, f"--basetemp={self.copy}/tmp"]

    def map(self, room: str) -> Map:
        """Which tests of a room run which lines, from the last time or asked now."""
        if room not in self.maps:
            of = self.rooms[room]
            with open(MEMORY / f"map-{room}.lock", "w") as lock:  # the other worker waits for the same map
                fcntl.flock(lock, fcntl.LOCK_EX)
                kept = Kept(MEMORY, self.copy, room, of.files, of.tests)
                if kept.changed:
                    print(f"{room}: asking which tests of {len(kept.changed)} files run which lines", flush=True)

                    def record() -> int:
                        import pytest

                        recorder = Recorder([self.copy / file for file in of.files], self.copy / ".covered")
                        recorder.coverage.start()
                        for file in of.files:
                            importlib.import_module(module_name(file))
                        pytest.main([*self.options(), *kept.changed], plugins=[recorder])
                        recorder.coverage.stop()
                        kept.write(recorder.map(self.copy))
                        return PASSED

                    forked(record, 3600, MEMORY / f"map-{room}.txt")
                    kept = Kept(MEMORY, self.copy, room, of.files, of.tests)
            self.maps[room] = kept.old
        return self.maps[room]

    def server(self, room: str) -> Connection:
        """The server of a room, started when it is first asked for."""
        if room not in self.servers:
            self.servers[room], there = Pipe()
            of = self.rooms[room]

            def run() -> None:
                import pytest

                os.dup2(os.open(MEMORY / f"server-{room}-{os.getpid()}.txt", os.O_WRONLY | os.O_CREAT), 1)
                pytest.main([*self.options(), *of.tests], plugins=[Server(there, of.files, self.copy)])

            Process(target=run).start()
            there.close()
            self.servers[room].recv()
        return self.servers[room]

    def ask(self, entry: Entry, mutant: Mutant) -> Entry:
        """What the tests say to a mutant of a room: killed, timeout, survived, or untested."""
        file, of = str(entry["file"]), self.map(str(entry["room"]))
        server = self.server(str(entry["room"]))
        tests = of.tests(file, mutant)
        limits = {test: 30 + 20 * of.cost(test) for test in tests}
        total = 60 + 20 * sum(of.cost(test) for test in tests)
        code, start = ELSEWHERE, time.monotonic()
        with self.changed(file, mutant.source):
            if not tests:
                code = None
            elif not of.at_import(file, mutant):
                server.send((file, mutant.place.function, mutant.source, limits, total))
                code = server.recv()
            if code == ELSEWHERE:
                code = forked(lambda: fresh(file, limits, self.options()), total + 60, self.copy / "output.txt")
        result = {None: "timeout", PASSED: "survived"}.get(code, "killed") if tests else "untested"
        by = blamed(self.copy / "output.txt") if result == "killed" else ""
        return {**entry, "result": result, "tests": len(tests), "seconds": round(time.monotonic() - start, 2), "by": by}

    def plant(self, entry: Entry, mutant: Mutant, tests: list[str]) -> Entry:
        """What the tests that are named say to a fault that is named."""
        file = str(entry["file"])

        def code(source: bytes | None) -> int | None:
            with self.changed(file, source):
                return forked(lambda: fresh(file, {}, [*self.options(), *tests]), 900, self.copy / "output.txt")

        if tuple(tests) not in self.right:
            self.right[tuple(tests)] = code(None) == PASSED
        if not self.right[tuple(tests)]:
            return {**entry, "result": "broken", "tests": len(tests), "seconds": 0}
        start, result = time.monotonic(), "survived" if code(mutant.source) == PASSED else "killed"
        return {**entry, "result": result, "tests": len(tests), "seconds": round(time.monotonic() - start, 2)}

    def close(self) -> None:
        for server in self.servers.values():
            server.send(None)

    @contextlib.contextmanager
    def changed(self, file: str, source: bytes | None) -> Iterator[None]:
        """Change a file for a while."""
        right = (self.copy / file).read_bytes()
        self.write(file, source or right)
        try:
            yield
        finally:
            self.write(file, right)

    def write(self, file: str, content: bytes) -> None:
        """Write a file with a time of its own, so that no old bytecode is taken for it."""
        self.number += 2
        (self.copy / file).write_bytes(content)
        os.utime(self.copy / file, (2e9 + self.number,) * 2)


def work(jobs: "Queue[Job | None]", results: "Queue[Entry]", deadline: float) -> None:
    """One worker: take mutants until there are none or the time is over."""
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder))
        for entry, mutant, tests in iter(jobs.get, None):
            if time.monotonic() > deadline:
                break
            results.put(worker.plant(entry, mutant, tests) if tests else worker.ask(entry, mutant))
        worker.close()


def sampled(room: str, files: list[str], size: int, seed: int) -> Iterator[Job]:
    """The mutants of a room, the sample first: ordered by a hash of each, so that it stays where code elsewhere
    changes and a larger one holds a smaller one. Another seed is a fresh sample."""
    found: list[Job] = []
    for file in files:
        source = (ROOT / file).read_bytes()
        for one in mutants(source):
            entry: Entry = {"file": file, "room": room, "line": one.line, "function": one.place.name}
            found.append((entry | {"before": one.before, "after": one.after, "crc": zlib.crc32(source)}, one, []))
    found.sort(key=lambda job: hashlib.sha256(f"{seed} {key(job[0])}".encode()).digest())
    for place, (entry, mutant, tests) in enumerate(found):
        yield entry | {"sampled": int(place < size)}, mutant, tests


def sample(given: argparse.Namespace) -> set[str]:
    """The keys of the mutants of the sample of a seed, of all rooms."""
    jobs = (job for room, of in rooms().items() for job in sampled(room, of.files, given.sample, given.seed))
    return {key(entry) for entry, _, _ in jobs if entry["sampled"]}


def chosen(given: argparse.Namespace, memory: Mapping[str, Entry]) -> list[Job]:
    """What is left to ask: of the sample what was not killed in this state of its file, and all known survivors."""
    equivalent, waiting = equivalents(), []
    for room, of in rooms().items():
        if given.planted or (given.rooms and room not in given.rooms):
            continue
        for job in sampled(room, of.files, given.sample, given.seed):
            old = memory.get(key(job[0]), {})
            done = old.get("crc") == job[0]["crc"] and old["result"] in ("killed", "timeout")
            known = old.get("result") in ("survived", "untested")
            if (job[0]["sampled"] or known) and not done and same(job[0]) not in equivalent:
                waiting.append(job)
    random.Random(given.seed).shuffle(waiting)  # so that a run that ends early has asked some of every room
    return [*planted()] if given.planted else waiting


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rooms", nargs="*", help="default: all")
    parser.add_argument("--sample", type=int, default=150, help="mutants of each room")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=55.0, help="no new mutant after this time")
    parser.add_argument("--planted", action="store_true", help="the faults of planted.toml instead")
    given = parser.parse_args()
    MEMORY.mkdir(exist_ok=True)
    place = MEMORY / "results.json"
    memory: dict[str, Entry] = json.loads(place.read_text()) if place.exists() else {}
    waiting = chosen(given, memory)
    jobs, results, deadline = Queue(), Queue(), time.monotonic() + 60 * given.minutes
    for job in [*waiting, *[None] * given.workers]:
        jobs.put(job)
    workers = [Process(target=work, args=(jobs, results, deadline)) for _ in range(given.workers)]
    for worker in workers:
        worker.start()
    count = 0
    while not results.empty() or any(worker.is_alive() for worker in workers):
        try:
            entry = results.get(timeout=0.5)
        except queue.Empty:
            continue
        count += 1
        memory[key(entry)] = entry
        place.write_text(json.dumps(memory, indent=1))
        where, cost = f"{entry['file']}:{entry['line']}", f"{entry['seconds']} s, {entry['tests']} tests"
        print(f"{count}/{len(waiting)} {entry['result']} ({cost}): {where}: {entry['after']}", flush=True)
    jobs.cancel_join_thread()
    (HERE / "REPORT.md").write_text(report(memory, given.seed, sample(given)))


if __name__ == "__main__":
    main()
