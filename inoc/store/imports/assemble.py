"""What the files of an import say together, read and checked."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from inoc.errors import BadInput
from inoc.plugins import versions
from inoc.reading import UNPRINTABLE
from inoc.store.imports.importers import Read, read_files
from inoc.store.imports.logprobs import LogprobSource
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
from inoc.store.imports.writing import ImportSummary, Parsed
from inoc.store.merged import judged_traits
from inoc.store.prefills import PrefillCounts
from inoc.store.progress import Progress
from inoc.store.schema import UNKNOWN, PromptInfo, ScoreInfo
from inoc.store.store import Store
from inoc.store.tables import stored_prompts


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
    format: str | None = None
    """Importer of `logprobs`; None to look into the files."""
    options: Sequence[str] = ()
    """`NAME=VALUE` of that importer."""

    def files(self) -> list[Path]:
        """All files but the rephrasing pools."""
        named = (self.prompts, self.elicitation, *self.scores, self.losses, self.prefills)
        return [*self.logprobs, *(p for p in named if p is not None)]

    def of(self, what: str) -> str:
        """The files that say something of this kind, for messages: "run", "unit", ..."""
        kinds = {"run": self.scores, "evaluation": self.scores, "loss": [self.losses], "prompt": [self.prompts],
                 "elicitation": [self.elicitation], "rephrasings of": [self.rephrasings],
                 "prefill counts of": [self.prefills]}  # fmt: skip
        named = [path for path in kinds.get(what, self.logprobs) if path is not None]
        return " or ".join(str(path) for path in named or self.files())


def parse(sources: Sources, summary: ImportSummary, progress: Progress, known: Store | None = None) -> Parsed:
    """Read and check all files, told apart by what the user says; `summary` gets what is odd, `known` is the store they
    are added to. BadInput, which says where, for a bad file or one that contradicts another or the store."""
    if not sources.files():
        raise BadInput("nothing to import. Fix: name at least one file.")
    progress.begin("read", len(sources.logprobs) + len(sources.scores))
    prompts = {prompt.key: prompt for prompt in (stored_prompts(known) if known else ())}
    given = bool(sources.prompts or prompts)
    for key, prompt in (read_prompts(sources.prompts) if sources.prompts else {}).items():
        _join_prompt(prompts, key, prompt.text, str(sources.prompts), summary, False)
        prompts[key] = prompt
    pools = read_rephrasings(sources.rephrasings) if sources.rephrasings else {}
    for path in sources.logprobs:
        progress.step(str(path))
    read = read_files(sources.logprobs, sources.format, sources.options) if sources.logprobs else Read([], [], [])
    for part in (parts := read.parts):
        for key, text in part.prompts.items():
            _join_prompt(prompts, key, text, str(part.path), summary, given)
        summary.warnings += part.warnings
        summary.ignored += part.ignored
    elicitation = read_elicitation(sources.elicitation, sources.baseline, prompts) if sources.elicitation else None
    if elicitation:
        for key, text in elicitation.prompts.items():
            _join_prompt(prompts, key, text, str(sources.elicitation), summary, given)
        summary.warnings += elicitation.warnings
    by_text = {p.text: p.key for p in reversed(list(prompts.values())) if p.text}
    runs: dict[str, RunSource] = {}
    others = _stored_runs(known)
    for path in sources.scores:
        progress.step(str(path))
    given_runs = [run for path in sources.scores for run in read_scores(path, by_text, summary.warnings).values()]
    for run in (*read.runs, *given_runs):
        _join_run(runs, run.name, run, others)
        if run.prompt:
            _join_prompt(prompts, run.prompt, run.text, str(run.path), summary, given)
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
    stored, judged = (known.traits, judged_traits(known)) if known else ((), frozenset[str]())
    traits = match_traits(mentioned, list(prompts.values()), sources.traits, stored, judged)
    _check_names(prompts, runs, traits)
    for part in parts:
        _name_sets_by_role(part, traits)
    unknown = [p.key for p in prompts.values() if p.role == UNKNOWN]
    if unknown:
        summary.notes.append(
            f"{len(unknown)} of {len(prompts)} prompts have no role or family (--prompts gives them); "
            "heuristics that need the trait of a prompt will be absent."
        )
    summary.ignored = list(dict.fromkeys(summary.ignored))
    return Parsed(parts, prompts, pools, elicitation, runs, traits, _prefills(sources), versions(read.plugins))


def _prefills(sources: Sources) -> dict[str, PrefillCounts]:
    if sources.prefills is None:
        return {}
    if sources.prefills_from is None:
        raise BadInput(
            "where the prefills come from decides what can be estimated. Fix: say --prefills-from file, run or self."
        )
    return read_prefill_counts(sources.prefills, sources.prefills_from)


def _stored_runs(store: Store | None) -> list[RunSource]:
    """The runs of the store that is added to, as far as others must fit to them."""
    if store is None:
        return []
    labels = {name: store.labels(f"runs/{name}/instruction") for name in store.runs}
    return [RunSource(name=name, path=store.path, size=len(found)) for name, found in labels.items()]


def _join_run(runs: dict[str, RunSource], name: str, run: RunSource, stored: Sequence[RunSource]) -> None:
    """Add a run; one run is in one file, and all runs answer the same instructions."""
    if (known := runs.get(name)) is not None:
        raise BadInput(
            f"run {name!r} is in {known.path} ({len(known.cells)} evaluations) and in {run.path} "
            f"({len(run.cells)} evaluations). Fix: rename one, or import one of them."
        )
    other = next((other for other in (*stored, *runs.values()) if other.size), run)
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
