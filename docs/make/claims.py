"""Run the tests behind the claims of docs/claims.md: `python docs/make/claims.py [--list]`."""

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

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


def main() -> int:
    """Print every claim with its check, or run all checks in one pytest; returns the exit status."""
    found = claims()
    if "--list" in sys.argv:
        sys.stdout.write("".join(f"{claim.page}: {claim.words}\n    {claim.check}\n" for claim in found))
        return 0
    tests = sorted({claim.check for claim in found if not claim.by_hand})
    sys.stdout.write(f"{len(found)} claims, {len(tests)} tests; by hand: {sum(c.by_hand for c in found)}\n")
    sys.stdout.flush()
    return subprocess.run([sys.executable, "-m", "pytest", "-q", "-rA", *tests], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
