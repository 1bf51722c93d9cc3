"""`inoc emergence`: forecast whether a behavior that is rare now will grow."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import Choice, json_option, names, store_argument

if TYPE_CHECKING:
    from inoc.emergence.processes import Mean, Process


@click.command()
@store_argument
@click.option("--run", "runs", metavar="A,B", help="Only these runs.")
@click.option(
    "--seen", type=click.IntRange(1), metavar="SEEN", help="Forecast from the first SEEN checkpoints.  [default: all]"
)
@click.option("--to", type=click.IntRange(1), help="Forecast this update.  [default: the last counted]")
@click.option("--process", type=Choice(["rate", "offset", "constrained"]), default="rate", show_default=True,
              help="Gaussian process of the forecast.")  # fmt: skip
@click.option("--mean", type=Choice(["constant", "linear", "tanh"]), default="linear", show_default=True,
              help="Its prior mean over checkpoints.")  # fmt: skip
@click.option("--threshold", type=click.FloatRange(0, 1, min_open=True, max_open=True), default=0.1, show_default=True,
              help="Rate above which a behavior has emerged.")  # fmt: skip
@json_option
def emergence(
    store: Path,
    runs: str | None,
    seen: int | None,
    to: int | None,
    process: "Process",
    mean: "Mean",
    threshold: float,
    as_json: bool,
) -> None:
    """The rate of every behavior without a prefill: counted, estimated from prefills, and forecast.

    Which estimator holds follows from where the prefills come from. With 8 behaviors or more, also how well simple
    predictors sort those that emerge.
    """
    import json

    from inoc.cli.emergence_tables import auc_lines, records, text_table
    from inoc.emergence import Settings, auc_table, cases, estimate, forecast
    from inoc.emergence.predictors import FEWEST
    from inoc.errors import BadInput, IncompleteStore
    from inoc.names import refuse_unknown
    from inoc.store.store import open_store

    opened = open_store(store)
    counts, wanted = opened.emergence, names(runs)
    if not counts:
        raise IncompleteStore(f"{store} has no prefill counts. Fix: make them with `inoc prefill` or `inoc import`.")
    refuse_unknown("run", wanted, counts)
    counts = {name: entry for name, entry in counts.items() if not wanted or name in wanted}
    table = cases(counts)
    if seen is not None and seen > table.sizes["checkpoint"]:
        raise BadInput(f"--seen is {seen}, the runs have {table.sizes['checkpoint']} checkpoints. Fix: lower it.")
    known = table.isel(checkpoint=slice(seen))
    estimates = {name: estimate(entry.isel(checkpoint=slice(seen))) for name, entry in counts.items()}
    ahead = forecast(table, seen=seen, to=to, settings=Settings(process, mean), threshold=threshold)
    rows = records(known, estimates, ahead)
    aucs = auc_table(table) if table.sizes["case"] >= FEWEST else None
    if as_json:
        document = {"forecast": dict(ahead.attrs), "behaviors": rows, "auc": auc_lines(aucs)}
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    click.echo(text_table(rows, ahead))
    if aucs is None:
        click.echo(f"{table.sizes['case']} behaviors: a table of predictors needs {FEWEST}.")
        return
    click.echo("AUC of the final label at 1, 2, ... checkpoints seen (intervals: --json)")
    for row in auc_lines(aucs):
        click.echo(f"  {row['predictor']:34}{'  '.join('   -' if a is None else f'{a:.2f}' for a in row['auc'])}")
