"""`make mutants`: plant small faults in the code one by one; a fault that no test sees is a survivor.

    python benchmarks/mutants/run.py [ROOM OR FILE ...] [--per-file 8] [--seed 0] [--workers 2] [--minutes 60]

Every worker has a copy of the tree and imports the large libraries once. For each mutant it changes one file of its
copy and forks: the child runs the tests that `rooms.toml` names, without the reference data. What is killed is
remembered in `.mutants.json` and asked again only when the file has changed; survivors are asked again each time.
`REPORT.md` is written from it. `equivalent.toml` lists mutants that change nothing, with the reason.
"""

import argparse
import contextlib
import importlib
import json
import os
import queue
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
import zlib
from collections.abc import Iterator, Mapping
from multiprocessing import Process, Queue
from pathlib import Path

from mutations import Mutant, mutants
from report import HERE, ROOT, Entry, Judged, judged, key, report

MEMORY = ROOT / ".mutants.json"
LIBRARIES = ("numpy", "scipy.stats", "xarray", "jax", "pydantic", "hypothesis", "torch", "transformers", "peft", "zarr")


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


def tested(copy: Path, tests: list[str], limit: float) -> tuple[str, float]:
    """Run tests in a fork. Returns passed, failed or timeout, and the seconds."""
    start, child = time.monotonic(), os.fork()
    if child == 0:
        os.setsid()
        for number in (1, 2):
            os.dup2(os.open(copy / f"output-{number}.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        import pytest

        code = 1
        with contextlib.suppress(BaseException):
            code = int(pytest.main(["-x", "-q", "-m", "not slow", "-p", "no:cacheprovider", "-p", "no:xdist", *tests]))
        os._exit(code)
    result = None
    while result is None:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            result = "passed" if status == 0 else "failed"
        elif time.monotonic() - start > limit:
            result = "timeout"
        else:
            time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):  # servers and children that the tests left
        os.killpg(child, signal.SIGKILL)
    if result == "timeout":
        os.waitpid(child, 0)
    return result, time.monotonic() - start


Job = tuple[Entry, bytes, list[str]]


def work(jobs: "Queue[Job | None]", results: "Queue[Entry]", deadline: float) -> None:
    """One worker: take mutants until there are none or the time is over."""
    os.environ.pop("INOC_REFERENCE_DATA", None)
    limits: dict[tuple[str, ...], float] = {}
    with tempfile.TemporaryDirectory() as folder:
        copy = tree(Path(folder))
        os.chdir(copy)
        os.environ["PYTHONPATH"] = str(copy)
        sys.path[:0] = [str(copy)]
        for name in LIBRARIES:
            importlib.import_module(name)
        for number, job in enumerate(iter(jobs.get, None)):
            if time.monotonic() > deadline:
                return
            entry, source, tests = job
            if tuple(tests) not in limits:
                result, seconds = tested(copy, tests, 900)
                if result != "passed":
                    print((copy / "output-1.txt").read_text()[-3000:], file=sys.stderr)
                limits[tuple(tests)] = 30 + 4 * seconds if result == "passed" else 0.0
            path = copy / str(entry["file"])
            right = path.read_bytes()
            path.write_bytes(source)
            os.utime(path, (2e9 + 2 * number,) * 2)  # a time of its own: no old bytecode is taken for it
            limit = limits[tuple(tests)]
            found = tested(copy, tests, limit)[0] if limit else "broken"
            path.write_bytes(right)
            os.utime(path, (2e9 + 2 * number + 1,) * 2)
            results.put({**entry, "result": {"passed": "survived", "failed": "killed"}.get(found, found)})


def sampled(
    files: Mapping[str, Judged], per_file: int, seed: int, memory: Mapping[str, Entry]
) -> Iterator[tuple[Entry, Mutant]]:
    """A seeded sample of the mutants of every file, where a larger one holds the smaller, and known survivors."""
    for file, (room, _) in files.items():
        source = (ROOT / file).read_bytes()
        chosen = mutants(source)
        random.Random(f"{seed}/{file}").shuffle(chosen)
        for place, one in enumerate(chosen):
            entry: Entry = {"file": file, "room": room, "line": one.line, "before": one.before, "after": one.after}
            if place < per_file or memory.get(key(entry), {}).get("result") == "survived":
                yield {**entry, "crc": zlib.crc32(source)}, one


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="rooms or files; default: all")
    parser.add_argument("--per-file", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--minutes", type=float, default=60.0, help="no new mutant after this time")
    given = parser.parse_args()
    files = {f: j for f, j in judged().items() if not given.what or j[0] in given.what or f in given.what}
    memory: dict[str, Entry] = json.loads(MEMORY.read_text()) if MEMORY.exists() else {}
    equivalent = {key(one): one["reason"] for one in tomllib.loads((HERE / "equivalent.toml").read_text())["mutant"]}
    waiting: list[Job] = []
    for entry, mutant in sampled(files, given.per_file, given.seed, memory):
        old = memory.get(key(entry), {})
        done = old.get("crc") == entry["crc"] and old["result"] in ("killed", "timeout")
        if not done and key(entry) not in equivalent:
            waiting.append((entry, mutant.source, files[str(entry["file"])][1]))
    random.Random(given.seed).shuffle(waiting)  # so that a run that ends early has asked some of every room
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
        MEMORY.write_text(json.dumps(memory, indent=1))
        where = f"{entry['file']}:{entry['line']}"
        print(f"{count}/{len(waiting)} {entry['result']}: {where}: {entry['after']}", flush=True)
    (HERE / "REPORT.md").write_text(report(memory, equivalent))


if __name__ == "__main__":
    main()
