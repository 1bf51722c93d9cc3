"""Everything about a prompt in one row: who it is, every heuristic, what training with it did."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from inoc.errors import IncompleteStore
from inoc.heuristics.frame.rows import rows
from inoc.heuristics.frame.table import measure
from inoc.outcomes import suppression
from inoc.store.store import Store
from inoc.values import Recipe

ABOUT = ("text", "group", "family", "role")


@dataclass(frozen=True)
class Wide:
    """The wide table.

    Attributes:
        table: One row per prompt and prefix type; NaN where missing.
        columns: What each column is: `long_name`, `units`, `n` (what a number rests on), `source`.
        notes: What the store lacks.
    """

    table: pd.DataFrame
    columns: Mapping[str, Mapping[str, str]]
    notes: tuple[str, ...]


def wide(store: Store, *, recipe: Recipe = "corrected", completion_set: str = "train") -> Wide:
    """The wide table of a store: prompts, heuristics and outcomes with intervals and n.

    Args:
        store: Scored, trained, or both.
        recipe: "corrected" or "published".
        completion_set: The set whose heuristics are taken.

    Returns:
        The table, with `COLUMN_ci[lower]` and `COLUMN_ci[upper]` beside a heuristic that has an interval and
        `SCORE_lower`, `SCORE_upper`, `SCORE_n` beside an outcome; where a prompt has several runs, seeds are
        pooled.

    Raises:
        IncompleteStore: There is neither a heuristic nor an outcome.
    """
    notes: list[str] = []
    parts: list[pd.DataFrame] = []
    columns: dict[str, dict[str, str]] = {}
    if store.completion_sets:
        measured = measure(store, recipe=recipe, completion_set=completion_set)
        shown = rows(measured)
        cells = pd.MultiIndex.from_arrays(
            [list(shown.prompts), list(shown.prefix_types)], names=["prompt", "prefix_type"]
        )
        parts.append(pd.DataFrame({name: column.values for name, column in shown.columns.items()}, index=cells))
        for name, column in shown.columns.items():
            known = {key: column.attrs.get(key, "") for key in ("long_name", "units", "n", "n_of", "source")}
            n = "" if not known["n_of"] else f"{known['n']} {known['n_of']}"
            columns[name] = {"long_name": str(known["long_name"]), "units": str(known["units"]), "n": n,
                             "source": str(known["source"])}  # fmt: skip
        notes += [f"{name}: {reason}" for name, reason in measured.absent.items()]
    try:
        parts.append(_outcomes(store, recipe, columns, notes))
    except IncompleteStore as reason:
        notes.append(f"no outcomes: {reason}")
    if not parts:
        raise IncompleteStore(f"{store.path.name} has neither logprobs nor evaluated runs. Fix: run `inoc score`.")
    table = parts[0].join(parts[1], how="outer") if len(parts) > 1 else parts[0]
    prompts = store.prompts
    keys = prompts["prompt"].values.astype(str).tolist()
    table = table.reset_index()
    order = [(keys.index(str(p)), str(kind)) for p, kind in zip(table["prompt"], table["prefix_type"], strict=True)]
    table = table.iloc[sorted(range(len(order)), key=order.__getitem__)]
    for place, name in enumerate(ABOUT, start=1):
        known = dict(zip(keys, prompts[name].values.astype(str).tolist(), strict=True))
        table.insert(place, name, table["prompt"].map(known))
    return Wide(table.reset_index(drop=True), columns, tuple(notes))


def _outcomes(store: Store, recipe: Recipe, columns: dict[str, dict[str, str]], notes: list[str]) -> pd.DataFrame:
    """Suppression or loss of every trait, mean over questions and seeds, in pp."""
    found = suppression(store, recipe=recipe)
    cells = _cells(found)
    if recipe != "published" and len(set(cells)) < len(cells):
        found = suppression(store, over="seeds")
        cells = _cells(found)
    first = [place for place, cell in enumerate(cells) if cell not in cells[:place]]
    runs = found["run"].values.astype(str).tolist()
    if others := [run for place, run in enumerate(runs) if place not in first]:
        notes.append(
            f"a row is one prompt and prefix type; left out, since another run has them too: {', '.join(others)}"
        )
    data: dict[str, np.ndarray] = {}
    for t, (trait, effect) in enumerate(
        zip(found["trait"].values.tolist(), found["effect"].values.tolist(), strict=True)
    ):
        name = f"{effect}[{trait}]"
        for suffix, part in (("", "mean"), ("_lower", "lower"), ("_upper", "upper"), ("_n", "n")):
            data[name + suffix] = found[part].values[first, t]
            columns[name + suffix] = {
                "long_name": f"{effect} of {trait}, control minus run" + {"": "", "_n": ": pairs of answers"}.get(
                    suffix, f": {part} end of the 95 % interval"),
                "units": "1" if part == "n" else "pp",
                "n": "",
                "source": "inoc",
            }  # fmt: skip
    return pd.DataFrame(
        data, index=pd.MultiIndex.from_tuples([cells[i] for i in first], names=["prompt", "prefix_type"])
    )


def _cells(found: xr.Dataset) -> list[tuple[str, str]]:
    return list(zip(found["run_prompt"].values.tolist(), found["prefix_type"].values.tolist(), strict=True))
