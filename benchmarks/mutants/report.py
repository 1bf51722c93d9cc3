"""What was asked and what survived, as a page; and which tests judge a file."""

import datetime
import tomllib
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

from mutations import mutants

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
Entry = dict[str, str | int]
"""One mutant: file, room, line, before, after, crc of the file, result."""
Judged = tuple[str, list[str]]
"""The room of a file and the tests that judge it."""
PAGE = """# Mutants

Made by `make mutants` on {date}. Every line is a sample by seed 0 of the mutants of each file of a room
([rooms.toml](rooms.toml)); the tests ran without the reference data. A mutant is one changed comparison, operator,
constant or condition, or one dropped statement.

| room | files | possible | asked | killed | equivalent | survived | survived of those not equivalent |
|---|---|---|---|---|---|---|---|
{table}

## Survivors

Each as it was asked last; the next run asks them again.

{survivors}

## Equivalent

{same}

## Why a script of our own

mutmut 3 skips decorated functions and constants of modules: nearly every heuristic and every threshold. cosmic-ray
starts a process for each mutant, which imports torch and JAX anew: 10 s before the first test. This script imports them
once for each worker and forks.
"""


def judged() -> dict[str, Judged]:
    """Every file of the rooms -> (room, its tests)."""
    found: dict[str, Judged] = {}
    for room, places in tomllib.loads((HERE / "rooms.toml").read_text()).items():
        for place, tests in places.items():
            path = ROOT / place
            files = [path] if path.is_file() else sorted(path.glob("*.py"))
            present = [test for test in tests if (ROOT / test).exists()]
            for file in files:
                if path.is_file() or str(file.relative_to(ROOT)) not in places:
                    found[str(file.relative_to(ROOT))] = room, present
    return found


def key(entry: Mapping[str, object]) -> str:
    return f"{entry['file']} | {entry['before']} | {entry['after']}"


def report(memory: Mapping[str, Entry], equivalent: Mapping[str, str]) -> str:
    """The page: a table by room, the survivors, and what counts as equivalent."""
    crcs = {file: zlib.crc32((ROOT / file).read_bytes()) for file in judged()}
    asked = [entry for entry in memory.values() if crcs.get(str(entry["file"])) == entry["crc"]]
    asked.sort(key=lambda entry: (entry["room"], entry["file"], entry["line"]))
    lines, left = [], [entry for entry in asked if entry["result"] == "survived" and key(entry) not in equivalent]
    for room in tomllib.loads((HERE / "rooms.toml").read_text()):
        of_room = [entry for entry in asked if entry["room"] == room]
        possible = sum(len(mutants((ROOT / file).read_bytes())) for file, (name, _) in judged().items() if name == room)
        results = Counter("equivalent" if key(e) in equivalent else str(e["result"]) for e in of_room)
        killed, survived = results["killed"] + results["timeout"], results["survived"]
        share = f"{100 * survived / (killed + survived):.0f} %" if killed + survived else "-"
        files = len({entry["file"] for entry in of_room})
        cells = (room, files, possible, len(of_room), killed, results["equivalent"], survived, share)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    listed = [f"- `{e['file']}:{e['line']}`: `{e['before']}` as `{e['after']}`" for e in left]
    same = [f"- `{name.split(' | ')[0]}`: `{name.split(' | ')[2]}`: {reason}" for name, reason in equivalent.items()]
    return PAGE.format(
        date=datetime.date.today(), table="\n".join(lines), survivors="\n".join(listed) or "none", same="\n".join(same)
    )
