"""`inoc outcomes`: show suppression, gaps and how well the heuristics predict them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import json_option, recipe_option

if TYPE_CHECKING:
    import xarray as xr

    from inoc.values import Recipe

SHOWN = 20
"""Heuristics in the printed performance table unless some are named."""


@click.command()
@click.option(
    "--store",
    "stores",
    multiple=True,
    required=True,
    type=click.Path(path_type=Path),
    help="A run store; give several to pool them in the performance table.",
)
@recipe_option
@click.option("--trait", metavar="NAME", help="Only this trait.")
@click.option("--step", type=int, help="Evaluate every run at this step instead of the nominal last one.")
@click.option("--include-flagged", is_flag=True, help="Keep runs whose last steps contradict each other.")
@click.option("--heuristics", metavar="A,B", help="Only these heuristics in the performance table.")
@json_option
@click.option("--csv", "as_csv", is_flag=True, help="Print one long CSV table.")
def outcomes(
    stores: tuple[Path, ...],
    recipe: "Recipe",
    trait: str | None,
    step: int | None,
    include_flagged: bool,
    heuristics: str | None,
    as_json: bool,
    as_csv: bool,
) -> None:
    """What training did: how much each prompt kept each trait quiet, with 95 % intervals in percentage
    points.

    Suppression is the control run's score minus the run's, paired by instruction, at the final step. Scores
    need `inoc evaluate` or `inoc import --scores`; the performance table also needs base-model logprobs.
    """
    from inoc.cli.outcome_records import Beside, print_csv, print_json
    from inoc.cli.outcome_tables import in_config_order, print_tables
    from inoc.errors import BadInput, IncompleteStore
    from inoc.outcomes import (
        cross_suppression,
        durability,
        gap,
        misalignment,
        performance_of,
        rows,
        suppression,
    )
    from inoc.outcomes.effects import run_scores
    from inoc.outcomes.emergent import judged_for_misalignment
    from inoc.outcomes.text import unknown
    from inoc.outcomes.tidy import experiment_names, full_names
    from inoc.store.store import open_store

    if as_json and as_csv:
        raise BadInput("--json and --csv exclude each other; give one of them.")
    runs = [open_store(path) for path in stores]
    tables: dict[str, dict[str, xr.Dataset]] = {}
    known: list[str] = []
    durable: dict[str, xr.Dataset] = {}
    misaligned: dict[str, xr.Dataset] = {}
    for name, run in zip(experiment_names(runs), runs, strict=True):
        tables[name] = {
            "suppression": suppression(run, recipe=recipe, step=step, include_flagged=include_flagged),
            "cross": cross_suppression(run, recipe=recipe, step=step, include_flagged=include_flagged),
            "gap": gap(run, recipe=recipe, step=step, include_flagged=include_flagged),
        }
        in_config_order(tables[name], run)
        if run_scores(run)["continues"].values.astype(bool).any():
            durable[name] = durability(run, include_flagged=include_flagged)
        if judged_for_misalignment([str(t) for t in tables[name]["suppression"]["trait"].values]):
            misaligned[name] = misalignment(run)
        known += [str(t) for t in tables[name]["suppression"]["trait"].values if str(t) not in known]
    if trait is not None and trait not in known:
        raise BadInput(unknown("trait", trait, known))
    named = [name.strip() for name in (heuristics or "").split(",") if name.strip()]
    wanted = full_names(named) if named else None
    performance: xr.Dataset | None = None
    why = ""
    try:
        table = rows(runs, only=wanted, recipe=recipe, step=step, include_flagged=include_flagged)
        if trait is not None:
            table = table.isel(row=(table["trait"] == trait).values)
        performance = performance_of(table, wanted, recipe=recipe)
    except IncompleteStore as error:
        why = str(error)
    beside = Beside(durable, misaligned)
    if as_json:
        print_json(tables, performance, why, trait, beside)
    elif as_csv:
        print_csv(tables, performance, trait, beside)
    else:
        print_tables(tables, performance, why, trait, None if wanted else SHOWN, beside)
