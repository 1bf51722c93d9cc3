"""`inoc outcomes`: show suppression, gaps and how well the heuristics predict them."""

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from inoc.cli.options import (
    STORE_PATH,
    Choice,
    heuristics_option,
    json_option,
    names,
    prompts_option,
    recipe_option,
    table_option,
    trait_option,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    import xarray as xr

    from inoc.store.store import Store
    from inoc.values import Recipe

SHOWN = 20
"""Heuristics in the printed performance table unless some are named."""


@click.command()
@click.option(
    "--store", "stores", multiple=True, type=STORE_PATH,
    help="A store; give several to pool them in the performance table.",
)  # fmt: skip
@table_option
@recipe_option
@trait_option
@prompts_option
@click.option("--questions", metavar="FILE", default="", help="Only questions of this file, in the tables of runs.")
@click.option("--step", type=int, help="Evaluate every run at this step instead of the nominal last one.")
@click.option(
    "--over", type=Choice(["seeds"]),
    help="Pool runs that differ in their seed only; from 3 seeds on, intervals for new seeds and new questions.",
)  # fmt: skip
@click.option("--include-flagged", is_flag=True, help="Keep runs whose last steps contradict each other.")
@heuristics_option("--heuristics", help="Only these heuristics in the performance table.")
@click.option(
    "--tradeoff", "tradeoffs", multiple=True, metavar="PROMPT=BEHAVIOR:CAPABILITY",
    help="Only how much of a behavior further training leaves, by what it brings; repeatable.",
)  # fmt: skip
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print one long CSV table.")
def outcomes(
    stores: tuple[Path, ...],
    csv_tables: tuple[Path, ...],
    recipe: "Recipe",
    trait: str | None,
    prompts: str | None,
    questions: str,
    step: int | None,
    over: "Literal['seeds'] | None",
    include_flagged: bool,
    heuristics: str | None,
    tradeoffs: tuple[str, ...],
    as_json: bool,
    as_csv: bool,
) -> None:
    """What training did: how much less of each trait a run shows, in percentage points with 95 % intervals.

    Suppression (of a leak) and loss (of what is wanted) are the control run's score minus the run's, paired by
    question, at the final step; more of either is always less of the trait. Scores
    need `inoc evaluate` or `inoc import --scores`; the performance table also needs base-model logprobs.
    A --table has outcomes and heuristics of its own and joins the performance table.
    """
    import numpy as np

    from inoc.cli.outcome_records import Outcomes, print_csv, print_json
    from inoc.cli.outcome_tables import print_tables
    from inoc.errors import BadInput, IncompleteStore
    from inoc.names import refuse_unknown
    from inoc.outcomes import control_warnings, durability, performance_of, pooled, rates, read_rows, rows
    from inoc.outcomes.effects import cross_of, gap_of, suppression_of
    from inoc.outcomes.final import final_scores, questions_by_file, run_scores
    from inoc.outcomes.tidy import experiment_names, full_names, of_prompts
    from inoc.store.store import open_store

    if as_json and as_csv:
        raise BadInput("--json and --csv exclude each other. Fix: give one of them.")
    if not stores and not csv_tables:
        raise BadInput("there is nothing to show. Fix: give --store or --table.")
    opened = [open_store(path) for path in stores]
    if tradeoffs:
        from inoc.cli.outcome_tradeoff import print_tradeoff

        return print_tradeoff(opened, tradeoffs, as_json)
    chosen = names(prompts)
    of_prompts(opened, chosen, np.array([], dtype=str))
    tables: dict[str, dict[str, xr.Dataset]] = {}
    warnings: dict[str, None] = {}
    known: dict[str, None] = {}
    for name, store in zip(experiment_names(opened), opened, strict=True):
        scores = run_scores(store, questions)
        final = final_scores(scores, recipe=recipe, step=step, include_flagged=include_flagged)
        held = suppression_of(final, recipe=recipe, over=over or "runs")
        gaps = gap_of(final, recipe=recipe, over=over or "runs")
        tables[name] = {
            part: in_config_order(table, store, opened, chosen)
            for part, table in (("suppression", held), ("cross", cross_of(held)), ("gap", gaps))
        }
        warnings |= dict.fromkeys(control_warnings(store, recipe=recipe, step=step))
        if not questions and len(asked := questions_by_file(store)) > 1:
            of = ", ".join(f"{count} of {file}" for file, count in asked.items())
            warnings[f"{name}: questions of all files count alike ({of}); --questions FILE takes one file."] = None
        traits = [str(t) for t in tables[name]["suppression"]["trait"].values]
        known |= dict.fromkeys(traits)
        if scores["continues"].values.astype(bool).any():
            tables[name]["durability"] = durability(store, include_flagged=include_flagged)
        if any(score.rate for score in store.measured):
            tables[name]["rates"] = rates(store)
    parts = [read_rows(csv_tables, recipe=recipe)] if csv_tables else []
    listed = {str(name) for part in parts for name in part["heuristic"].values}
    known |= {str(name): None for part in parts for name in part["trait"].values}
    refuse_unknown("trait", [] if trait is None else [trait], known)
    wanted = [full for name in names(heuristics) for full in ([name] if name in listed else full_names([name]))] or None
    performance: xr.Dataset | None = None
    why = ""
    try:
        if opened:
            parts.append(rows(opened, only=wanted, recipe=recipe, step=step, include_flagged=include_flagged))
        table = pooled(parts)
        if chosen:
            table = table.isel(row=of_prompts(opened, chosen, table["prompt"].values.astype(str)))
        if trait is not None:
            table = table.isel(row=(table["trait"] == trait).values)
        performance = performance_of(table, wanted, recipe=recipe)
    except IncompleteStore as error:
        why = str(error)
    found = Outcomes(tables, performance, why, trait, tuple(warnings))
    if as_json:
        print_json(found)
    elif as_csv:
        print_csv(found)
    else:
        print_tables(found, None if wanted else SHOWN)


def in_config_order(
    table: "xr.Dataset", store: "Store", stores: "Sequence[Store]", chosen: "Sequence[str]"
) -> "xr.Dataset":
    """A table as the experiment lists its prompts, fixed before mix; with what each prompt asks for.

    `chosen`: only these prompts of the stores, by key or group; all where none is named.
    """
    import numpy as np

    from inoc.outcomes.tidy import of_prompts, prompt_column

    families = prompt_column(store, "family")
    asks = {trait.family: trait.name for trait in store.traits}
    place = {key: i for i, key in enumerate(families)}
    row = "run" if "run_prompt" in table.coords else "prompt"
    keys = table["run_prompt" if row == "run" else "prompt"].values.astype(str).tolist()
    kinds = table["prefix_type"].values.astype(str).tolist() if row == "run" else keys
    order = sorted(range(len(keys)), key=lambda i: (place.get(keys[i], len(place)), keys[i], kinds[i]))
    asked = [asks.get(families.get(key, ""), "") for key in keys]
    if chosen:
        kept = of_prompts(stores, chosen, np.array(keys, dtype=str))
        order = [i for i in order if kept[i]]
    return table.assign(asks_for=(row, asked)).set_coords("asks_for").isel({row: order})
