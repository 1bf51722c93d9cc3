"""`inoc import --overwrite` in forked processes that are killed before a chosen change of the disk, or find it full.

Prints one JSON document: {"changes": of one whole import, "points": kills or limits tried, "failures": {point: what}}.
Every change of the disk is a call of one of CALLS. After each interruption the store must be the old one or the new
one, byte by byte (or wait beside its place for the next writer), and the same import again must end in the new one.
"""

import argparse
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


def counted(kill_at: int, told: Path) -> None:
    """From now on the process dies before its `kill_at`-th change of the disk; the number of changes goes to `told`."""
    seen = 0

    def wrap(name: str) -> None:
        call = getattr(os, name)

        def wrapped(*args: object, **kwargs: object) -> object:
            nonlocal seen
            seen += 1
            if seen == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)
            if kill_at < 0:
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
    from inoc.store.imports import assemble

    right = assemble.write

    def wrong(parsed: object, part: Path, *rest: object) -> None:
        shutil.rmtree(part.parent / "s.zarr", ignore_errors=True)
        right(parsed, part, *rest)  # type: ignore[arg-type]

    assemble.write = wrong  # type: ignore[assignment]


def matrix(place: Path, mode: str, count: int, mutant: bool) -> dict[str, object]:
    folder, store, old_store = place / "world", place / "s.zarr", place / "old.zarr"
    write_world(folder, place / "none")
    files = folder / "import"
    runs = json.loads((files / "scores.json").read_text())
    (files / "scores.json").write_text(json.dumps({name: runs[name] for name in ("no_inoculation", "de0_mix")}))
    big = ["import", str(files / "tokens.jsonl"), f"--scores={files / 'scores.json'}", "--trait=positive=German",
           "--trait=negative=Flattering", f"--store={store}", "--overwrite"]  # fmt: skip
    assert forked(lambda: main(small(folder, store))) == 0
    shutil.copytree(store, old_store)
    old = content(store)
    told = place / "told"

    def measure() -> None:
        counted(-1, told)
        main(big)

    assert forked(measure) == 0
    new, changes = content(store), int(told.read_text())
    largest = max(map(len, new.values()))
    last = changes if mode == "kills" else largest
    spread = {1 + i * (last - 1) // max(count - 1, 1) for i in range(count)}
    points = sorted(spread | ({last - i for i in range(12)} if mode == "kills" and count > 3 else set()))
    failures: dict[int, str] = {}
    for point in points:
        for path in place.iterdir():
            if path.name not in ("world", "old.zarr"):
                shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(old_store, store)

        def body(point: int = point) -> None:
            if mutant:
                mutate()
            if mode == "kills":
                counted(point, told)
            else:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (point, point))
            main(big)

        status = forked(body)
        wrong: list[str] = []
        if mode == "kills" and not os.WIFSIGNALED(status):
            wrong.append(f"ended by itself ({status})")
        if mode == "full" and point < largest and os.waitstatus_to_exitcode(status) not in (1, 2):
            wrong.append(f"exit code {os.waitstatus_to_exitcode(status)}")
        beside = [p for p in place.iterdir() if p.name.startswith(".s.zarr") and (p / "zarr.json").is_file()]
        found = content(store) if store.exists() else next((c for p in beside if (c := content(p)) in (old, new)), {})
        if found not in (old, new):
            wrong.append("neither the old store nor the new one")
        if forked(lambda: main(big)) != 0:
            wrong.append("the same import again failed")
        elif content(store) != new:
            wrong.append("the same import again gave another store")
        if left := [p.name for p in place.iterdir() if p.name.startswith(".s.zarr")]:
            wrong.append(f"left behind: {left}")
        if wrong:
            failures[point] = "; ".join(wrong)
    return {"changes": changes, "points": len(points), "failures": failures}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("place", type=Path)
    parser.add_argument("--mode", choices=["kills", "full"], default="kills")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--mutant", action="store_true")
    given = parser.parse_args()
    sys.stdout.write(json.dumps(matrix(given.place, given.mode, given.count, given.mutant)))
