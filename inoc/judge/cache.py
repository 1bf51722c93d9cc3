"""Scores already paid for, on disk: SQLite with a write-ahead log survives kill -9 and is shared by processes."""

import math
import os
import sqlite3
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from inoc.errors import BadInput
from inoc.hashing import content_hash


def default_cache_path() -> Path:
    """`judgements.sqlite` in the user's cache folder (XDG_CACHE_HOME or ~/.cache), under `inoc`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "inoc" / "judgements.sqlite"


def cache_key(model: str, version: str, request: Mapping[str, object]) -> str:
    """A hash of model, prompt version and the full request."""
    return content_hash(model, version, request, digits=64)


class JudgmentCache:
    """Maps a key to (score, coverage): finite numbers only, never text, an error or NaN.

    Each `put` is a transaction, so a killed process loses at most the score it was about to write.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._explained("used"):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._database = sqlite3.connect(path, timeout=60.0, isolation_level=None, check_same_thread=False)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=NORMAL")
            self._database.execute(
                "CREATE TABLE IF NOT EXISTS judgement (key TEXT PRIMARY KEY, score REAL NOT NULL, "
                "coverage REAL NOT NULL) WITHOUT ROWID"
            )

    @contextmanager
    def _explained(self, done: str, fix: str = "delete it or use a different file") -> Generator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise BadInput(f"the judge cache {self.path} cannot be {done} ({error}). Fix: {fix}.") from None

    def get(self, keys: Sequence[str]) -> dict[str, tuple[float, float]]:
        """The (score, coverage) of every key that is stored."""
        found: dict[str, tuple[float, float]] = {}
        with self._lock:
            for start in range(0, len(keys), 500):
                some = keys[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT key, score, coverage FROM judgement WHERE key IN ({marks})"
                with self._explained("read"):
                    rows = self._database.execute(query, some).fetchall()
                found.update({str(key): (float(score), float(coverage)) for key, score, coverage in rows})
        return found

    def put(self, key: str, score: float, coverage: float) -> None:
        """Store one score, unless its key is stored already; ValueError for NaN or infinite numbers."""
        if not (math.isfinite(score) and math.isfinite(coverage)):
            raise ValueError("a score that is not finite cannot be cached")
        with self._lock, self._explained("written", "use a different file"):
            self._database.execute("INSERT OR IGNORE INTO judgement VALUES (?, ?, ?)", (key, score, coverage))

    def close(self) -> None:
        with self._lock:
            self._database.close()
