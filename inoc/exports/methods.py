"""What a paper says of a study: a paragraph of methods from what the store holds, and BibTeX of the software."""

from collections.abc import Mapping, Sequence
from importlib.metadata import PackageNotFoundError, metadata, version

import numpy as np

from inoc._version import __version__
from inoc.heuristics.frame.registry import find
from inoc.outcomes.correlation import FEWEST
from inoc.outcomes.final import final_scores, run_scores
from inoc.outcomes.settings import settings_of
from inoc.reading import printable
from inoc.store.store import Store
from inoc.store.summary import StoreSummary, summarize
from inoc.values import Recipe

LIBRARIES = ("numpy", "scipy", "xarray", "zarr", "matplotlib")


def methods(store: Store, heuristics: Sequence[str] = (), recipe: Recipe = "corrected") -> str:
    """A paragraph with the numbers of a store: model, prompts, data, runs, evaluation, statistics, versions.

    Args:
        store: The store to read. What it lacks is not mentioned.
        heuristics: Names or symbols of the heuristics that the paper uses; by default ph and elicitation where the
            store has them.
        recipe: The recipe that the paper uses.

    Raises:
        BadInput: A heuristic is unknown.
    """
    held = summarize(store)
    usual = [name for name, known in (("ph", held.sets), ("elicitation", held.elicitation)) if known]
    said = [_of_base(held), *(_of_heuristic(name) for name in heuristics or usual)]
    said += [_of_runs(store), _of_scores(store)] if store.runs else []
    said.append(_of_software(held.provenance, recipe))
    return " ".join(sentence for sentence in said if sentence)


def _of_base(held: StoreSummary) -> str:
    roles = ", ".join(f"{n} {printable(role)}" for role, n in held.prompts.items() if role)
    model = held.experiment.get("model")
    said = f"We study {sum(held.prompts.values())} inoculation prompts{f' ({roles})' if roles else ''}"
    said += f" of the model {printable(str(model))}." if model else "."
    for name, examples in {each.completion_set: each.examples for each in held.sets}.items():
        said += f" The completion set {printable(name)} has {examples} examples."
    if held.rephrasings:
        sizes = np.array(list(held.rephrasings.values()))
        size = f"{sizes.min()}" if sizes.min() == sizes.max() else f"{sizes.min()} to {sizes.max()}"
        said += f" For mix, {len(sizes)} prompts have pools of {size} rephrasings."
    if held.elicitation:
        said += f" Elicitation is measured on {held.elicitation['instructions']} instructions."
    return said


def _of_heuristic(name: str) -> str:
    found = find(name)
    symbol = f" ({found.symbol})" if found.symbol else ""
    return f"The {found.long_name}{symbol} is {found.formula} [{found.units}]."


def _of_runs(store: Store) -> str:
    runs = [run for run in store.runs.values() if not (run.start or run.leak_of)]
    kinds = [run.prefix_type for run in runs]
    counts = ", ".join(
        f"{kinds.count(kind)} {word}"
        for kind, word in (("none", "without a prefix"), ("fixed", "fixed"), ("mix", "mix"))
        if kind in kinds
    )
    said = f"We fine-tune {len(runs)} runs ({counts})"
    seeds = sorted({run.seed for run in runs if run.seed >= 0})
    said += f" with seeds {', '.join(map(str, seeds))}" if seeds else ""
    trained = "; ".join(str(each) for each in settings_of(store))
    return f"{said}; settings: {printable(trained)}." if trained else f"{said}."


def _of_scores(store: Store) -> str:
    final = final_scores(run_scores(store))
    asked = np.isfinite(final.score).any(axis=1).sum(axis=1)
    steps = sorted({int(step) for step in final.step if step >= 0})
    traits = "; ".join(
        f"{printable(trait.name)} ({trait.role})" + (f", judged by {printable(trait.judge)}" if trait.judge else "")
        for trait in store.traits
    )
    n = f"{asked.min()}" if asked.min() == asked.max() else f"{asked.min()} to {asked.max()}"
    said = f"Every run is scored at step {', '.join(map(str, steps))} without any prefix on {n} questions: {traits}."
    said += (
        " Suppression is the score of the control run minus that of the run, paired by question, with 95 % paired t "
        f"intervals. Correlations count prompts, not rows, as sample; there are none below {FEWEST} prompts."
    )
    return said + (f" Left out: {len(final.left_out)} runs." if final.left_out else "")


def _of_software(provenance: Mapping[str, object], recipe: Recipe) -> str:
    wrote = provenance.get("inoc")
    before = f" (store written by {printable(str(wrote))})" if wrote and wrote != __version__ else ""
    return f"Analyses use inoc {__version__}{before}, recipe {recipe}; " + ", ".join(_versions()) + "."


def _versions() -> list[str]:
    return [f"{name} {found}" for name in LIBRARIES if (found := _installed(name))]


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def bibtex() -> str:
    """BibTeX of inoc and of the libraries behind its numbers and figures, as software with installed versions."""
    entries = [
        "@software{inoc,\n  title = {{inoc: predicting what an inoculation prompt does to what a language model "
        f"learns}}}},\n  author = {{{{The inoc developers}}}},\n  version = {{{__version__}}},\n"
        "  url = {https://github.com/inoc-dev/inoc}\n}"
    ]
    for name in LIBRARIES:
        if found := _installed(name):
            pages = dict(line.lower().split(", ", 1) for line in metadata(name).get_all("Project-URL") or [])
            url = pages.get("homepage") or f"https://pypi.org/project/{name}"
            entries.append(
                f"@software{{{name},\n  title = {{{{{name}}}}},\n  version = {{{found}}},\n  url = {{{url}}}\n}}"
            )
    return "\n\n".join(entries)
