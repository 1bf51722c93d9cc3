"""Commands that put a whole store in place, in forked processes that are killed before a chosen change of the disk, or
find it full there (`--mode full`), or can write no file beyond a size (`--mode limit`).

Commands: `overwrite` (inoc import --overwrite), `append` (inoc import --append), `merge` (inoc merge). Prints one JSON
document: {"changes": of one whole command, "points": interruptions tried, "failures": {point: what}}. Every change of
the disk is a call of one of CALLS. After each interruption the store must be the old one or the new one, byte by byte
(or wait beside its place for the next writer), and the same command again must end in the new one.
"""

import argparse
import errno
import json
import os
import re
import resource
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from inoc import atomic
from inoc.cli import main
from tests.robust.world import write_world

CALLS = ("rename", "replace", "unlink", "rmdir", "mkdir")


def forked(body: Callable[[], None]) -> int:
    """Run in a process of its own that says nothing; the wait status."""
    pid = os.fork()
    if pid:
        return os.waitpid(pid, 0)[1]
    silent = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    atomic._flushing = False  # a killed process loses nothing that is not on the disk yet
    try:
        body()
    except SystemExit as end:
        os._exit(end.code if isinstance(end.code, int) else 1)
    finally:
        os._exit(99)


def counted(stop_at: int, told: Path, full: bool = False) -> None:
    """From now on the process dies before its `stop_at`-th change of the disk, or finds the disk full from there on;
    the number of changes goes to `told`."""
    seen = 0

    def wrap(name: str) -> None:
        call = getattr(os, name)

        def wrapped(*args: object, **kwargs: object) -> object:
            nonlocal seen
            seen += 1
            if seen == stop_at and not full:
                os.kill(os.getpid(), signal.SIGKILL)
            if full and seen >= stop_at and name not in ("unlink", "rmdir"):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if stop_at < 0:
                told.write_text(str(seen))
            return call(*args, **kwargs)

        setattr(os, name, wrapped)

    for name in CALLS:
        wrap(name)


def content(store: Path) -> dict[str, bytes]:
    """Every file of a store, without the time in its history."""
    found = {str(p.relative_to(store)): p.read_bytes() for p in sorted(store.rglob("*")) if p.is_file()}
    timed = re.compile(rb'"(?:when": "[^"]*"|metadata_crc32": \d+)')
    return {name: timed.sub(b"", text) if name == "zarr.json" else text for name, text in found.items()}


def small(folder: Path, store: Path, *more: str) -> list[str]:
    return ["import", str(folder / "import" / "tokens.jsonl"), f"--store={store}", *more]


def mutate() -> None:
    """The planted fault: the old store is deleted before the new one is written."""
    from inoc.store.imports import making

    right = making.write

    def wrong(parsed: object, part: Path, *rest: object) -> None:
        shutil.rmtree(part.parent / "s.zarr", ignore_errors=True)
        right(parsed, part, *rest)  # type: ignore[arg-type]

    making.write = wrong  # type: ignore[assignment]


def prepare(place: Path, command: str) -> list[str]:
    """Write the files of a command and the old store, if it has one; the command line."""
    folder, store = place / "world", place / "s.zarr"
    write_world(folder, place / "none")
    files = folder / "import"
    runs = json.loads((files / "scores.json").read_text())
    (files / "scores.json").write_text(json.dumps({name: runs[name] for name in ("no_inoculation", "de0_mix")}))
    scores = [f"--scores={files / 'scores.json'}", "--trait=positive=German", "--trait=negative=Flattering"]
    if command == "merge":
        assert forked(lambda: main(small(folder, place / "one.zarr"))) == 0
        assert forked(lambda: main(["import", *scores, f"--store={place / 'two.zarr'}"])) == 0
        return ["merge", str(place / "one.zarr"), str(place / "two.zarr"), f"--output={store}"]
    assert forked(lambda: main(small(folder, store))) == 0
    if command == "append":
        return ["import", *scores, f"--store={store}", "--append"]
    return ["import", str(files / "tokens.jsonl"), *scores, f"--store={store}", "--overwrite"]


def matrix(place: Path, command: str, mode: str, count: int, mutant: bool) -> dict[str, object]:
    store, kept = place / "s.zarr", place / "old"
    line = prepare(place, command)
    old = content(store) if store.exists() else {}
    kept.mkdir()
    if old:
        shutil.copytree(store, kept / "s.zarr")
    told = kept / "told"

    def measure() -> None:
        counted(-1, told)
        main(line)

    assert forked(measure) == 0
    new, changes = content(store), int(told.read_text())
    largest = max(map(len, new.values()))
    last = largest if mode == "limit" else changes
    spread = {1 + i * (last - 1) // max(count - 1, 1) for i in range(count)}
    points = sorted(spread | ({last - i for i in range(12)} if mode == "kills" and count > 3 else set()))
    failures: dict[int, str] = {}
    for point in points:
        for path in place.glob("*s.zarr*"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        if old:
            shutil.copytree(kept / "s.zarr", store)

        def body(point: int = point) -> None:
            if mutant:
                mutate()
            if mode == "limit":
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (point, point))
            else:
                counted(point, told, mode == "full")
            main(line)

        status = forked(body)
        wrong: list[str] = []
        if mode == "kills" and not os.WIFSIGNALED(status):
            wrong.append(f"ended by itself ({status})")
        if mode != "kills" and point < last and os.waitstatus_to_exitcode(status) not in (0, 1, 2):
            wrong.append(f"exit code {os.waitstatus_to_exitcode(status)}")
        beside = [p for p in place.iterdir() if p.name.startswith(".s.zarr") and (p / "zarr.json").is_file()]
        found = content(store) if store.exists() else next((c for p in beside if (c := content(p)) in (old, new)), {})
        if found not in (old, new):
            wrong.append("neither the old store nor the new one")
        if found != new and os.waitstatus_to_exitcode(status) == 0:
            wrong.append("said that all is well")
        if (command != "merge" or not store.exists()) and forked(lambda: main(line)) != 0:
            wrong.append("the same command again failed")
        elif content(store) != new:
            wrong.append("the same command again gave another store")
        if left := [p.name for p in place.iterdir() if p.name.startswith(".s.zarr")]:
            wrong.append(f"left behind: {left}")
        if wrong:
            failures[point] = "; ".join(wrong)
    return {"changes": changes, "points": len(points), "failures": failures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--command", choices=["overwrite", "append", "merge"], default="overwrite")
    parser.add_argument("--mode", choices=["kills", "full", "limit"], default="kills")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--mutant", action="store_true")
    given = parser.parse_args()
    sys.stdout.write(json.dumps(matrix(given.place, given.command, given.mode, given.count, given.mutant)))
