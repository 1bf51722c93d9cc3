"""Run the tests behind the claims of docs/claims.md: `python docs/make/claims.py [--list | options of pytest]`."""

import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]


class Claim(NamedTuple):
    """Words of a page, and the test that checks them ("by hand: ..." where none can)."""

    words: str
    page: str
    check: str

    @property
    def by_hand(self) -> bool:
        return self.check.startswith("by hand")


def claims() -> tuple[Claim, ...]:
    """The rows of the table."""
    rows = re.findall(r"^\| (.+) \| \[(.+?)\]\(.+?\) \| (.+) \|$", (ROOT / "docs" / "claims.md").read_text(), re.M)
    return tuple(Claim(words, page, check.strip("`") if "::" in check else check) for words, page, check in rows)


def said_there(claim: Claim) -> bool:
    """Whether the page still says so, however its lines are broken."""
    return " ".join(claim.words.split()) in " ".join((ROOT / claim.page).read_text().split())


def node_exists(check: str) -> bool:
    """Whether the test is defined in its file."""
    file, _, name = check.partition("::")
    path = ROOT / file
    return path.is_file() and re.search(rf"^\s*def {name}\(", path.read_text(), re.M) is not None


def results(report: Path) -> dict[str, str]:
    """Result of each test of a JUnit file, by name: the worst of its cases."""
    found: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        name, skipped = case.get("name", "").split("[")[0], case.find("skipped")
        bad = case.find("failure") is not None or case.find("error") is not None
        result = "false" if bad else "true" if skipped is None else "not run"
        found[name] = min(result, found.get(name, "true"))  # "false" < "not run" < "true"
    return found


def main() -> int:
    """Print every claim with its check, or run the checks in one pytest and print a row for each claim."""
    known, given = claims(), sys.argv[1:]
    if "--list" in given:
        sys.stdout.write("".join(f"{claim.page}: {claim.words}\n    {claim.check}\n" for claim in known))
        return 0
    with TemporaryDirectory() as folder:
        report = Path(folder, "results.xml")
        files, names = ({claim.check.split("::")[i] for claim in known if not claim.by_hand} for i in (0, 1))
        chosen = [*sorted(files), "-k", " or ".join(sorted(names))]
        command = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", *chosen, *given]
        status = subprocess.run(command, cwd=ROOT, check=False).returncode
        found = results(report)
    rows = [(c.check if c.by_hand else found.get(c.check.split("::")[1], "not run"), c) for c in known]
    sys.stdout.write("".join(f"| {result} | {claim.page} | {claim.words} |\n" for result, claim in rows))
    counts = Counter(result.partition(":")[0] for result, _ in rows)
    sys.stdout.write(f"{len(rows)} claims: " + ", ".join(f"{n} {word}" for word, n in counts.items()) + "\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
