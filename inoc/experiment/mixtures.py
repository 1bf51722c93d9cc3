"""Which rows a run is trained on: the rows of one or several files, by number, by share and by field."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from inoc.errors import BadInput
from inoc.experiment.data import Example, read_training_rows, subset
from inoc.experiment.models import Experiment
from inoc.experiment.training import Rows


class MixedRow(NamedTuple):
    """A row of a mixture.

    Attributes:
        id: Of the row: its id in the file for the train set and for an only file, else `<number of the file>/<id>`.
        example: The row.
        source: The entry of `data` that took it.
    """

    id: str
    example: Example
    source: Rows


def mixture(experiment: Experiment, data: Sequence[Rows], most: int | None) -> tuple[MixedRow, ...]:
    """The rows of a run, entry by entry, each in the order of its file; every row is taken once.

    An entry with `n` takes that many, one with `share` that share of the whole, one with neither all that are left of
    its file. Where every entry has a share, the whole is as large as the files allow.

    Args:
        experiment: Whose files and seed are used.
        data: The entries; empty for the train set.
        most: Rows of the whole at most (`training.examples`); entries with `n` or `share` keep their part.

    Returns:
        The rows before shuffling.

    Raises:
        BadInput: A file is wrong or has too few rows, or the entries contradict each other.
    """
    train = experiment.completion_path("train")
    sources = tuple(data) or (Rows(path=str(train)),)
    picking = _Picking(experiment, sources)
    for i, source in enumerate(sources):
        if source.n is not None:
            picking.take(i, source.n)
    for i in picking.whole:
        picking.take(i, None)
    shares = {i: source.share for i, source in enumerate(sources) if source.share is not None}
    for i, n in picking.counts(shares, most).items():
        picking.take(i, n)
    if most is not None:
        picking.cut(most)
    files = list(dict.fromkeys(picking.paths))
    rows = [
        MixedRow(e.id if path == train or len(files) == 1 else f"{files.index(path) + 1}/{e.id}", e, source)
        for source, path, examples in zip(sources, picking.paths, picking.taken, strict=True)
        for e in examples
    ]
    seen: set[str] = set()
    for row in rows:
        if row.id in seen:
            raise BadInput(f"data: two rows have the id {row.id!r}. Fix: rename one in its file.")
        seen.add(row.id)
    return tuple(rows)


class _Picking:
    """What each entry has taken so far."""

    def __init__(self, experiment: Experiment, sources: Sequence[Rows]) -> None:
        self.seed = experiment.seed
        self.sources = sources
        self.paths: list[Path] = [experiment.resolve(source.path) for source in sources]
        self.rows = [read_training_rows(path, source.where) for path, source in zip(self.paths, sources, strict=True)]
        self.taken: list[tuple[Example, ...]] = [()] * len(sources)
        self.whole = [i for i, source in enumerate(sources) if source.n is None and source.share is None]
        self.used: dict[tuple[Path, str], int] = {}

    def take(self, i: int, n: int | None) -> None:
        """Give entry `i` `n` random rows (None: all) of those that no other entry has."""
        path = self.paths[i]
        free = [e for e in self.rows[i] if (path, e.id) not in self.used]
        if n is not None and n > len(free):
            other = len(self.rows[i]) - len(free)
            left = f" ({other} of them taken by other entries)" if other else ""
            raise BadInput(
                f"data: {n} rows of {self.sources[i].path} are asked for; it has {len(self.rows[i])}{left}. "
                "Fix: add rows, or lower n, share or training.examples."
            )
        if not free:
            raise BadInput(f"data: other entries take every row of {self.sources[i].path}. Fix: give them n or share.")
        self.taken[i] = subset(free, n, self.seed)
        self.used.update({(path, e.id): i for e in self.taken[i]})

    def counts(self, shares: dict[int, float], most: int | None) -> dict[int, int]:
        """How many rows each entry with a share gets."""
        if not shares:
            return {}
        others = sum(map(len, self.taken))
        if not others:
            return self._parts(shares, most)
        for i in shares:
            if any(self.used.get((self.paths[i], e.id)) in self.whole for e in self.rows[i]):
                raise BadInput(
                    f"data: one entry takes a share of {self.sources[i].path}, another all of its rows. "
                    "Fix: give both a share."
                )
        total = others / (1 - sum(shares.values()))
        total = total if most is None else min(total, most)
        return {i: round(total * share) for i, share in shares.items()}

    def _parts(self, shares: dict[int, float], most: int | None) -> dict[int, int]:
        """The counts where every entry has a share: as many rows as the files allow."""
        total = min(len(self.rows[i]) / share for i, share in shares.items())
        for path in set(self.paths):
            of_file = [i for i in shares if self.paths[i] == path]
            rows = {e.id for i in of_file for e in self.rows[i]}
            total = min(total, len(rows) / sum(shares[i] for i in of_file))
        size = int(total + 1e-9) if most is None else min(int(total + 1e-9), most)
        ends = [round(size * sum(list(shares.values())[: k + 1])) for k in range(len(shares))]
        return {i: end - start for i, start, end in zip(shares, [0, *ends], ends, strict=False)}

    def cut(self, most: int) -> None:
        """Leave out rows of the entries that take whole files until `most` rows are left."""
        whole = [(i, e) for i in self.whole for e in self.taken[i]]
        left = most - sum(map(len, self.taken)) + len(whole)
        if left < 0 or (whole and left == 0):
            raise BadInput(f"data: the entries ask for more than training.examples = {most} rows. Fix: raise it.")
        kept = subset(whole, left, self.seed)
        for i in self.whole:
            self.taken[i] = tuple(e for k, e in kept if k == i)
