"""The table of the robustness suite: tries and survived, by kind."""

from collections import Counter

TRIES: Counter[str] = Counter()
SURVIVED: Counter[str] = Counter()


def count(kind: str, survived: bool, tries: int = 1) -> None:
    """Add tries to the table; all of them survived, or none."""
    TRIES[kind] += tries
    SURVIVED[kind] += tries * survived


def table() -> list[str]:
    """The lines of the table; none where nothing was tried."""
    if not TRIES:
        return []
    rows = [f"{kind:<44}{TRIES[kind]:>8}{SURVIVED[kind]:>10}" for kind in sorted(TRIES)]
    return [*rows, f"{'all':<44}{TRIES.total():>8}{SURVIVED.total():>10}"]
