"""From parsed files to a store: everything is read and checked, then written next to the target, then renamed."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np

from inoc._version import __version__
from inoc.errors import BadInput
from inoc.hashing import SHORT, file_hash
from inoc.reading import UNPRINTABLE
from inoc.store.fingerprint import completions_fingerprint, fingerprint
from inoc.store.imports.logprobs import LogprobSource, read_logprobs
from inoc.store.imports.outcomes import (
    RunSource,
    read_elicitation,
    read_losses,
    read_prompts,
    read_rephrasings,
    read_scores,
)
from inoc.store.imports.prefills import read_prefill_counts
from inoc.store.imports.traits import match_traits
from inoc.store.imports.writing import ImportSummary, Parsed, Progress, write
from inoc.store.placing import put_in_place
from inoc.store.prefills import PrefillCounts
from inoc.store.schema import PromptInfo, ScoreInfo


class _Unwatched:
    def begin(self, what: str, total: int) -> None: ...
    def step(self, name: str) -> None: ...


@dataclass
class Sources:
    """The files to import and what the user says about them."""

    logprobs: Sequence[Path]
    prompts: Path | None = None
    rephrasings: Path | None = None
    elicitation: Path | None = None
    scores: Sequence[Path] = ()
    losses: Path | None = None
    prefills: Path | None = None
    prefills_from: str | None = None
    """Where the prefills come from: file, run or self."""
    traits: Sequence[str] = ()
    """`ROLE=NAME` or `ROLE=NAME:FAMILY`."""
    baseline: str | None = None
    nominal_step: int | None = None

    def files(self) -> list[Path]:
        """All files but the rephrasing pools."""
        named = (self.prompts, self.elicitation, *self.scores, self.losses, self.prefills)
        return [*self.logprobs, *(p for p in named if p is not None)]


def import_run(
    sources: Sources, store: Path, *, overwrite: bool = False, progress: Progress | None = None
) -> ImportSummary:
    """Make a store from files.

    Args:
        sources: The files and what the user says about them.
        store: Where the store is made.
        overwrite: Whether an existing store is replaced.
        progress: Told of every file that is read and every unit that is written.

    Returns:
        What was imported, what is missing and what was odd.

    Raises:
        BadInput: A file is bad (the message says where) or the store exists; nothing is written then.
    """
    if store.exists() and not overwrite:
        raise BadInput(f"{store} exists already. Fix: choose another --store or give --overwrite.")
    if store.exists() and not (store / "zarr.json").is_file():
        raise BadInput(f"{store} exists and is not an inoc store. Fix: choose another --store.")
    summary = ImportSummary(str(store))
    watched = progress or _Unwatched()
    parsed = _parse(sources, summary, watched)
    identity, provenance = _identity(parsed), _provenance(parsed, sources, summary)
    put_in_place(store, lambda part: write(parsed, part, summary, identity, provenance, watched))
    return summary


def _parse(sources: Sources, summary: ImportSummary, progress: Progress) -> Parsed:
    if not sources.files():
        raise BadInput("nothing to import. Fix: name at least one file.")
    progress.begin("read", len(sources.logprobs) + len(sources.scores))
    prompts = read_prompts(sources.prompts) if sources.prompts else {}
    given = bool(prompts)
    pools = read_rephrasings(sources.rephrasings) if sources.rephrasings else {}
    parts: list[LogprobSource] = []
    for path in sources.logprobs:
        progress.step(str(path))
        parts.append(read_logprobs(path))
    for path, part in zip(sources.logprobs, parts, strict=True):
        for key, text in part.prompts.items():
            _join_prompt(prompts, key, text, str(path), summary, given)
        summary.warnings += part.warnings
        summary.ignored += part.ignored
    elicitation = read_elicitation(sources.elicitation, sources.baseline, prompts) if sources.elicitation else None
    if elicitation:
        for key, text in elicitation.prompts.items():
            _join_prompt(prompts, key, text, str(sources.elicitation), summary, given)
        summary.warnings += elicitation.warnings
    by_text = {p.text: p.key for p in reversed(list(prompts.values())) if p.text}
    runs: dict[str, RunSource] = {}
    for path in sources.scores:
        progress.step(str(path))
        for name, run in read_scores(path, by_text, summary.warnings).items():
            _join_run(runs, name, run)
            if run.prompt:
                _join_prompt(prompts, run.prompt, run.text, str(path), summary, given)
    for name, rows in (read_losses(sources.losses) if sources.losses else {}).items():
        if name not in runs:
            raise BadInput(f"{sources.losses}: run {name!r} is not among the scored runs. Fix: import its scores too.")
        runs[name].losses = rows
    for key in pools:
        if key not in prompts:
            raise BadInput(f"{sources.rephrasings}/{key}.jsonl: no prompt has the key {key!r}. Fix: rename the file.")
    _set_nominal_steps(runs, sources.nominal_step, summary)
    elicited = elicitation.traits if elicitation else list[str]()
    mentioned = list(dict.fromkeys([*elicited, *(t for r in runs.values() for t in r.traits)]))
    traits = match_traits(mentioned, list(prompts.values()), sources.traits)
    _check_names(prompts, runs, traits)
    for part in parts:
        _name_sets_by_role(part, traits)
    unknown = [p.key for p in prompts.values() if p.role == "unknown"]
    if unknown:
        summary.notes.append(
            f"{len(unknown)} of {len(prompts)} prompts have no role or family (--prompts gives them); "
            "heuristics that need the trait of a prompt will be absent."
        )
    summary.ignored = list(dict.fromkeys(summary.ignored))
    return Parsed(parts, prompts, pools, elicitation, runs, traits, _prefills(sources))


def _prefills(sources: Sources) -> dict[str, PrefillCounts]:
    if sources.prefills is None:
        return {}
    if sources.prefills_from is None:
        raise BadInput(
            "where the prefills come from decides what can be estimated. Fix: say --prefills-from file, run or self."
        )
    return read_prefill_counts(sources.prefills, sources.prefills_from)


def _join_run(runs: dict[str, RunSource], name: str, run: RunSource) -> None:
    """Add a run; one run is in one file, and all runs answer the same instructions."""
    if (known := runs.get(name)) is not None:
        raise BadInput(
            f"run {name!r} is in {known.path} ({len(known.cells)} evaluations) and in {run.path} "
            f"({len(run.cells)} evaluations). Fix: rename one, or import one of them."
        )
    other = next((other for other in runs.values() if other.size), run)
    if run.size and run.size != other.size and run.path != other.path:
        raise BadInput(
            f"run {name!r} of {run.path} has scores of {run.size} instructions, run {other.name!r} of {other.path} of "
            f"{other.size}. Fix: import runs that answer other instructions into a store of their own."
        )
    runs[name] = run


def _check_names(prompts: Mapping[str, PromptInfo], runs: Mapping[str, RunSource], traits: Sequence[ScoreInfo]) -> None:
    """What becomes a label is short and can be shown."""
    named = [("prompt", key) for key in prompts] + [("run", name) for name in runs]
    named += [("trait", trait.name) for trait in traits]
    named += [(word, getattr(prompt, word)) for prompt in prompts.values() for word in ("family", "group")]
    for what, name in named:
        if UNPRINTABLE.search(name) or "\n" in name or len(name) > 200:
            raise BadInput(f"the {what} name {name[:60]!r} has a control character or is too long. Fix: rename it.")


def _name_sets_by_role(part: LogprobSource, traits: Sequence[ScoreInfo]) -> None:
    """A set named by a trait or its family holds the texts of that trait only: the set `positive` or `negative`."""
    roles = {name.casefold(): trait.role for trait in traits for name in (trait.name, trait.family)}
    for name in list(part.completions):
        role = roles.get(name.casefold())
        if role is None:
            continue
        if role in part.completions:
            raise BadInput(
                f"{part.path} has the sets {name!r} and {role!r}, which are one. Fix: leave out one of them."
            )
        part.completions[role] = part.completions.pop(name)
        part.completions[role].name = role
        part.values = {
            (level, unit._replace(completion_set=role) if unit.completion_set == name else unit): values
            for (level, unit), values in part.values.items()
        }


def _join_prompt(
    prompts: dict[str, PromptInfo], key: str, text: str, where: str, summary: ImportSummary, given: bool
) -> None:
    known = prompts.get(key)
    if known is None:
        prompts[key] = PromptInfo(key, text)
        if given:
            summary.notes.append(f"{where}: prompt {key!r} is not in --prompts; its family and role are unknown.")
    elif not known.text:
        prompts[key] = known._replace(text=text)
    elif text and known.text != text:
        raise BadInput(
            f"{where}: prompt {key!r} has the text {text!r}, elsewhere it is {known.text!r}. "
            "Fix: use one key for each text."
        )


def _set_nominal_steps(runs: Mapping[str, RunSource], given: int | None, summary: ImportSummary) -> None:
    """The nominal final step: as given, as the file says, or the last but one where the last comes one update later."""
    inferred: set[int] = set()
    for run in runs.values():
        steps = run.steps
        if given is not None:
            run.nominal_step = given
        elif run.nominal_step < 0 and len(steps) > 1 and steps[-1] == steps[-2] + 1:
            run.nominal_step = steps[-2]
            inferred.add(steps[-2])
        elif run.nominal_step < 0 and steps:
            run.nominal_step = steps[-1]
    for step in sorted(inferred):
        summary.notes.append(
            f"nominal final step {step}: step {step + 1}, one update later, counts as a second look at the end "
            "(--nominal-step says otherwise)."
        )


def _identity(parsed: Parsed) -> dict[str, object]:
    sets = {
        name: completions_fingerprint(
            c.example_ids,
            None if c.row_size is None else np.asarray(c.row_size),
            None if c.token_ids is None else np.asarray(c.token_ids),
            c.completions,
        )
        for part in parsed.logprobs
        for name, c in part.completions.items()
    }
    params = [part.params for part in parsed.logprobs]
    return {
        "source": "import",
        "model": next((p["model"] for p in params if "model" in p), "unknown"),
        "completions": sets,
        "prompts": fingerprint({k: p.text for k, p in parsed.prompts.items()}),
        "rephrasings": {k: fingerprint(v) for k, v in parsed.pools.items()},
    }


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
    }
