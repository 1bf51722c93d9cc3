"""What was asked and what survived, as a page; what is asked and by which tests."""

import datetime
import tomllib
import zlib
from collections import Counter
from collections.abc import Container, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

from mutations import Mutant, mutants

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
MEMORY = ROOT / ".mutants"
Entry = dict[str, str | int | float]
"""One mutant: file, room, line, function, before, after, crc of the file, result, tests asked, seconds."""
PAGE = """# Mutants

Made by `make mutants` on {date}, the tests ran without the reference data. A mutant is one changed comparison,
operator, constant or condition, or one dropped statement. Of each room ([rooms.toml](rooms.toml)) a random sample of
its mutants is asked (`--seed {seed}`); the interval (Wilson, 95 %) is that of the share in the whole room. A mutant
that no test runs counts as a survivor, one that ends in a time-out as killed. A survivor was given the tests that run
its line, up to fifteen seconds of processor time of them, those of the file named like its module first. {seconds}

| room | possible | asked | killed | timeout | equivalent | survived | share of those not equivalent |
|---|---|---|---|---|---|---|---|
{table}

## Survivors

Each as it was asked last; the next run asks them again.

{survivors}

## Faults with a name

[planted.toml](planted.toml), planted by `run.py --planted`:

{planted}

## Equivalent

{same}

## Why a script of our own

mutmut 3 skips decorated functions and constants of modules: nearly every heuristic and every threshold. cosmic-ray
starts a process for each mutant, which imports torch and JAX anew: 10 s before the first test. This script imports them
once, forks for each mutant, and runs only the tests that run the line (recorded with coverage.py).
"""


@dataclass(frozen=True)
class Room:
    """Files, and the tests that judge them."""

    files: list[str]
    tests: list[str]


def rooms() -> dict[str, Room]:
    found: dict[str, Room] = {}
    for room, of in tomllib.loads((HERE / "rooms.toml").read_text()).items():
        files = [file for place in of["files"] for file in _files(ROOT / place)]
        found[room] = Room([str(file.relative_to(ROOT)) for file in files], of["tests"])
    return found


def _files(place: Path) -> list[Path]:
    return [place] if place.is_file() else sorted(place.glob("*.py"))


def key(entry: Mapping[str, object]) -> str:
    return " | ".join(str(entry[name]) for name in ("file", "function", "before", "after"))


def same(entry: Mapping[str, object]) -> str:
    """What equivalent.toml knows a mutant by."""
    return " | ".join(str(entry[name]) for name in ("file", "before", "after"))


def equivalents() -> dict[str, str]:
    return {same(one): one["reason"] for one in tomllib.loads((HERE / "equivalent.toml").read_text())["mutant"]}


def planted() -> Iterator[tuple[Entry, Mutant, list[str]]]:
    """Faults with a name, and the tests that must see them."""
    for one in tomllib.loads((HERE / "planted.toml").read_text())["fault"]:
        source = (ROOT / one["file"]).read_text()
        if source.count(one["old"]) != 1:
            raise SystemExit(
                f"planted.toml: {one['file']} has the text {one['old']!r} {source.count(one['old'])} times."
            )
        line = source[: source.index(one["old"])].count("\n") + 1
        changed = source.replace(one["old"], one["new"]).encode()
        entry: Entry = {"file": one["file"], "room": "planted", "line": line, "function": one["name"], "sampled": 0}
        entry |= {"before": one["old"], "after": one["new"], "crc": zlib.crc32(source.encode())}
        yield entry, Mutant(line, one["old"], one["new"], changed), one["tests"]


def report(memory: Mapping[str, Entry], seed: int, sample: Container[str]) -> str:
    """The page: a table by room of the sample of this seed, the survivors, faults with a name, what is equivalent."""
    from scipy.stats import binomtest

    equivalent, here = equivalents(), rooms()
    crcs = {str(entry["file"]): zlib.crc32((ROOT / str(entry["file"])).read_bytes()) for entry in memory.values()}
    current = [entry for entry in memory.values() if crcs[str(entry["file"])] == entry["crc"]]
    current.sort(key=lambda entry: (entry["room"], entry["file"], entry["line"]))
    asked = [entry for entry in current if entry["room"] in here and key(entry) in sample]
    lines: list[str] = []
    for room, of in here.items():
        possible = sum(len(mutants((ROOT / file).read_bytes())) for file in of.files)
        results = Counter("same" if same(e) in equivalent else str(e["result"]) for e in asked if e["room"] == room)
        alive = results["survived"] + results["untested"]
        n = alive + results["killed"] + results["timeout"]
        share = "-"
        if n:
            low, high = binomtest(alive, n).proportion_ci(method="wilson")
            whole = n + results["same"] == possible
            share = f"{100 * alive / n:.1f} %" + (
                " (all asked)" if whole else f" ({100 * low:.1f} to {100 * high:.1f})"
            )
        counts = (results[name] for name in ("killed", "timeout", "same"))
        lines.append("| " + " | ".join(map(str, (room, possible, n + results["same"], *counts, alive, share))) + " |")
    left = [e for e in current if e["room"] in here and e["result"] in ("survived", "untested")]
    listed = [
        f"- `{e['file']}:{e['line']}`: `{e['before']}` as `{e['after']}`" for e in left if same(e) not in equivalent
    ]
    named = [f"- {e['function']}: {e['result']} (`{e['file']}`)" for e in current if e["room"] == "planted"]
    alike = [f"- `{name.split(' | ')[0]}`: `{name.split(' | ')[2]}`: {reason}" for name, reason in equivalent.items()]
    times = [float(entry["seconds"]) for entry in asked]
    return PAGE.format(
        date=datetime.date.today(),
        seed=seed,
        seconds=f"A mutant takes {median(times):.1f} s (median; mean {mean(times):.1f})." if times else "",
        table="\n".join(lines),
        survivors="\n".join(listed) or "none",
        planted="\n".join(named) or "not asked",
        same="\n".join(alike),
    )
