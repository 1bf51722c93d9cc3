"""From files to a store: written next to its place, then renamed; a store that is added to is replaced by the whole."""

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import cast

import numpy as np

from inoc._version import __version__
from inoc.errors import BadInput
from inoc.hashing import SHORT, file_hash
from inoc.store.fingerprint import completions_fingerprint, imported_identity
from inoc.store.history import HISTORY, accepted
from inoc.store.imports.assemble import Sources, parse
from inoc.store.imports.writing import ImportSummary, Parsed, joined_completions, write
from inoc.store.merge_writing import write_merged
from inoc.store.merged import Merged, MergeSummary, imported
from inoc.store.opening import replaced_path
from inoc.store.placing import put_in_place
from inoc.store.progress import UNWATCHED, Progress
from inoc.store.schema import UNKNOWN
from inoc.store.store import Store

APPENDED = "appended"
"""Where the provenance of a store lists that of what was added."""


def import_run(
    sources: Sources, store: Path, *, overwrite: bool = False, append: bool = False, progress: Progress = UNWATCHED
) -> ImportSummary:
    """Make a store from files, or add what files say to an imported one.

    Args:
        sources: The files and what the user says about them.
        store: Where the store is made.
        overwrite: Whether an existing store is replaced.
        append: Whether the files are added to an existing store. What it holds is kept; what the files say of the same
            units, runs and prompts must be equal.
        progress: Told of every file that is read and every unit that is written.

    Returns:
        What was imported, what is missing and what was odd.

    Raises:
        BadInput: A file is bad (the message says where) or the store exists; nothing is written then.
        OtherSettings: Files to append differ from what the store holds; nothing is written then.
    """
    summary = ImportSummary(str(store))
    if overwrite and append:
        raise BadInput("--append keeps a store and --overwrite replaces it. Fix: give one of them.")
    if append:
        _append(sources, store, summary, progress)
        return summary
    if store.exists() and not overwrite:
        raise BadInput(f"{store} exists already. Fix: choose another --store, or give --append or --overwrite.")
    if store.exists() and not (store / "zarr.json").is_file():
        raise BadInput(f"{store} exists and is not an inoc store. Fix: choose another --store.")
    parsed = parse(sources, summary, progress)
    identity, provenance = _identity(parsed), _provenance(parsed, sources, summary)
    put_in_place(store, lambda part: write(parsed, part, summary, identity, provenance, progress))
    return summary


def _append(sources: Sources, store: Path, summary: ImportSummary, progress: Progress) -> None:
    """Put a store in place that holds what is there and what the files say; where they say nothing new, leave it."""
    place = store.resolve()
    if not replaced_path(place).exists():
        Store(place)  # raises where there is none
    added = place.with_name(f".{place.name}.added")

    def fill(part: Path) -> None:
        known = Store(place)
        if not imported(known):
            raise BadInput(
                f"{store} was not made by inoc import, and its settings cover what files do not say. "
                "Fix: import into a store of its own."
            )
        parsed = parse(sources, summary, progress, known)
        provenance = _provenance(parsed, sources, summary)
        shutil.rmtree(added, ignore_errors=True)
        try:
            write(parsed, added, summary, _identity(parsed), provenance, progress)
            merged = Merged([known, Store(added)], lambda what, path: sources.of(what) if path == added else str(store))
            counts = MergeSummary(str(store), [])
            merged.compare(counts, progress)
            summary.kept = counts.in_several
            if counts.new:
                before = cast("list[object]", known.provenance.get(APPENDED) or [])
                files = cast("dict[str, str]", provenance["files"])
                lines = [f"files.{name}: {digest}" for name, digest in files.items()]
                root = {**known.root, HISTORY: known.history}
                history = accepted(root, merged.experiment, "inoc import --append", lines)
                write_merged(merged, part, {**known.provenance, APPENDED: [*before, provenance]}, history, progress)
        finally:
            shutil.rmtree(added, ignore_errors=True)

    put_in_place(place, fill)


def _identity(parsed: Parsed) -> dict[str, object]:
    sets: dict[str, str] = {}
    for name in dict.fromkeys(name for part in parsed.logprobs for name in part.completions):
        found = joined_completions(parsed.logprobs, name)
        sets[name] = completions_fingerprint(
            found.example_ids,
            None if found.row_size is None else np.asarray(found.row_size),
            None if found.token_ids is None else np.asarray(found.token_ids),
            found.completions,
        )
    model = next((str(part.params["model"]) for part in parsed.logprobs if "model" in part.params), UNKNOWN)
    return imported_identity(model, sets, {k: p.text for k, p in parsed.prompts.items()}, parsed.pools)


def _provenance(parsed: Parsed, sources: Sources, summary: ImportSummary) -> dict[str, object]:
    return {
        "inoc": __version__,
        "python": platform.python_version(),
        **{name: version(name) for name in ("numpy", "zarr")},
        "files": {path.name: file_hash(path)[:SHORT] for path in sources.files()},
        "params": [part.params for part in parsed.logprobs],
        "notes": summary.notes,
        "warnings": summary.warnings,
        "ignored": summary.ignored,
        **({"plugins": parsed.plugins} if parsed.plugins else {}),
    }
