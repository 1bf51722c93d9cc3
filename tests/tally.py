"""The table of the robustness suite: tries and survived, by kind.

Every try is a line of a file as soon as it is known (`INOC_TALLY`, else one of this process), so that several processes
share the table and a suite that is cut off still has one. `python -m tests.tally FILE...` prints it for the docs.
"""

import os
import sys
import tempfile
from collections import Counter
from pathlib import Path

FILE = Path(os.environ.get("INOC_TALLY") or Path(tempfile.gettempdir()) / f"inoc-tally-{os.getpid()}")


def count(kind: str, survived: bool, tries: int = 1) -> None:
    """Add tries to the table; all of them survived, or none."""
    with FILE.open("a", encoding="utf-8") as file:
        file.write(f"{tries}\t{tries * survived}\t{kind}\n")


def read(files: list[Path]) -> list[tuple[str, int, int]]:
    """Kind, tries and survived, by kind, with the sum at the end; empty where nothing was tried."""
    tries: Counter[str] = Counter()
    survived: Counter[str] = Counter()
    for line in "".join(file.read_text(encoding="utf-8") for file in files if file.exists()).splitlines():
        tried, lived, kind = line.split("\t")
        tries[kind] += int(tried)
        survived[kind] += int(lived)
    rows = [(kind, tries[kind], survived[kind]) for kind in sorted(tries)]
    return [*rows, ("all", tries.total(), survived.total())] if rows else []


def table() -> list[str]:
    """The lines of this suite's table, as text."""
    return [f"{kind:<44}{tried:>8}{lived:>10}" for kind, tried, lived in read([FILE])]


if __name__ == "__main__":
    found = read([Path(name) for name in sys.argv[1:]])
    rows = [f"| {kind} | {tried:,} | {lived:,} |" for kind, tried, lived in found]
    sys.stdout.write("\n".join(["| what | tries | survived |", "|---|---|---|", *rows, ""]))
