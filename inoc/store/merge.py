"""Stores of one study that was split over machines become one store again."""

from collections.abc import Sequence
from pathlib import Path

from inoc._version import __version__
from inoc.errors import BadInput
from inoc.store.fingerprint import difference
from inoc.store.history import accepted
from inoc.store.merge_writing import write_merged
from inoc.store.merged import Merged, MergeSummary
from inoc.store.placing import put_in_place
from inoc.store.progress import UNWATCHED, Progress
from inoc.store.store import Store
from inoc.store.validate import validate


def merge(
    sources: Sequence[Path], target: Path, *, dry_run: bool = False, progress: Progress = UNWATCHED
) -> MergeSummary:
    """Merge two stores or more, which are only read, into a new one where nothing is yet; `dry_run`: compare and count;
    `progress`: told of every group that is verified, and every unit that is compared and written.

    Raises:
        BadInput: A source is named twice or damaged, or the target exists.
        OtherSettings: Identities differ (field by field), or two stores hold different data of the same unit, which
            the message names.
    """
    if len({path.resolve() for path in sources}) < max(2, len(sources)):
        raise BadInput("merging takes two different stores or more. Fix: name each store once.")
    if target.exists():
        raise BadInput(f"{target} exists already. Fix: choose another place with -o.")
    for path in sources:
        problems = validate(path, progress)
        if problems:
            raise BadInput(f"{path} is damaged: {problems[0]} Fix: see what `inoc validate` lists.")
    stores = [Store(path) for path in sources]
    merged = Merged(stores)
    summary = MergeSummary(str(target), [str(path) for path in sources])
    summary.notes += [
        f"{store.path}: its experiment differs from that of {stores[0].path}: {line}"
        for store in stores[1:]
        for line in difference(stores[0].experiment, store.experiment)
    ]
    merged.compare(summary, progress)
    if not dry_run:
        provenance: dict[str, object] = {
            "inoc": __version__,
            "merged": [{"provenance": dict(s.provenance), "history": s.history} for s in stores],
        }
        history = accepted({}, merged.experiment, "inoc merge")
        put_in_place(target, lambda place: write_merged(merged, place, provenance, history, progress))
    return summary
