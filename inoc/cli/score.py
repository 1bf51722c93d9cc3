"""`inoc score`: score every completion token with and without every prompt."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import json_option

if TYPE_CHECKING:
    from inoc.backends.pricing import Price
    from inoc.backends.protocols import Backend
    from inoc.experiment import Experiment
    from inoc.stages.estimate import Forecast
    from inoc.values import Recipe


@click.command()
@click.argument("study", type=click.Path(path_type=Path))
@click.option(
    "--store", required=True, type=click.Path(path_type=Path), help="The run store, made if it is not there."
)
@click.option("--backend", "backend_name", help="Another backend than the experiment's.")
@click.option("--set", "sets", multiple=True, help="Only this completion set (may be given again).")
@click.option(
    "--prefix-type", "prefix_types", multiple=True, type=click.Choice(["fixed", "mix"]), help="Only this one."
)
@click.option("--prompts", help="Only these prompts: keys or groups, separated by commas.")
@click.option(
    "--recipe",
    type=click.Choice(["corrected", "published"]),
    default="corrected",
    show_default=True,
    help="Which tokens are scored: one end-of-turn token, or all the template writes.",
)
@click.option("--dry-run", is_flag=True, help="Print units, tokens and a measured estimate; write nothing.")
@click.option("--verify", is_flag=True, help="Afterwards read everything again and compare checksums.")
@json_option
def score(
    study: Path,
    store: Path,
    backend_name: str | None,
    sets: tuple[str, ...],
    prefix_types: tuple[str, ...],
    prompts: str | None,
    recipe: "Recipe",
    dry_run: bool,
    verify: bool,
    as_json: bool,
) -> None:
    """Score the completions of a STUDY (experiment file) token by token, with and without its prompts.

    The same command again goes on where it stopped, whatever stopped it.
    """
    import json

    from inoc.cli.progress import ScoreProgress
    from inoc.experiment import load_experiment
    from inoc.stages.estimate import estimate
    from inoc.stages.score import score as run_stage

    experiment = load_experiment(study)
    backend = open_backend(experiment, backend_name)
    keys = tuple(part.strip() for part in prompts.split(",") if part.strip()) if prompts else ()
    missing = to_generate(experiment, sets)
    if dry_run:
        sets = without(experiment, sets, missing)
        forecast = estimate(
            experiment, backend, store, sets=sets, prefix_types=prefix_types, prompts=keys, recipe=recipe
        )
        click.echo(json.dumps(forecast.to_json(), indent=2) if as_json else forecast_text(forecast))
        return
    if missing:
        from inoc.stages.generate import generate
        from inoc.stages.study import Study

        click.echo(f"sampling the base model for {', '.join(missing)}", err=True)
        generate(Study(experiment, backend, store), missing)
    with ScoreProgress() as progress:
        report = run_stage(
            experiment, backend, store, sets=sets, prefix_types=prefix_types, prompts=keys, recipe=recipe,
            listener=progress,
        )  # fmt: skip
        rate = progress.rate
    if verify:
        from inoc.stages.verify import verify_store

        click.echo(f"verified {verify_store(store)} units of {store}", err=True)
    document = {
        "store": str(store), "scored": report.scored, "already": report.already, "pending": report.left,
        "tokens": report.tokens,
    }  # fmt: skip
    speed = f" at {rate:,.0f} tokens/s" if report.scored else ""
    rest = f"; {report.left} units of the experiment are still pending" if report.left else ""
    text = (
        f"{store}: scored {report.scored} units, {report.tokens:,} tokens{speed}; {report.already} were there"
    )
    text += f"{rest}."
    click.echo(json.dumps(document, indent=2) if as_json else text)


def to_generate(experiment: "Experiment", sets: tuple[str, ...]) -> tuple[str, ...]:
    """Completion sets that are to be sampled from the base model and are not there yet."""
    return tuple(
        name
        for name, entry in experiment.completion_sets.items()
        if entry.made and (not sets or name in sets) and not experiment.completion_path(name).exists()
    )


def without(experiment: "Experiment", sets: tuple[str, ...], missing: tuple[str, ...]) -> tuple[str, ...]:
    """The sets a dry run can count, with a note on the others."""
    if not missing:
        return sets
    click.echo(
        f"note: {', '.join(missing)} will be sampled from the base model first and is not counted", err=True
    )
    names = sets or tuple(name for name, _ in experiment.completion_sets.items())
    return tuple(name for name in names if name not in missing)


def forecast_text(forecast: "Forecast") -> str:
    """The plan as a table, and how long it will take."""
    from inoc.cli.progress import duration

    lines = [
        f"{'set':<9} {'examples':>11} {'units':>6} {'pending':>8} {'tokens/unit':>12} {'context tokens':>15}"
    ]
    for entry in forecast.sets:
        of = f"{entry.examples}/{entry.available}"
        lines.append(
            f"{entry.name:<9} {of:>11} {entry.units:>6} {entry.pending:>8} {entry.tokens:>12,} "
            f"{entry.context:>15,}"
        )
    if forecast.price is not None:
        lines.append(
            f"to score: {forecast.tokens:,} completion tokens; with contexts {price_text(forecast.price)}"
        )
        return "\n".join(lines)
    about = (
        f"about {duration(forecast.seconds)} at {forecast.rate:,.0f} tokens/s (measured on a few examples)"
    )
    lines.append(
        f"to score: {forecast.tokens:,} completion tokens" + (f", {about}" if forecast.tokens else "")
    )
    return "\n".join(lines)


def price_text(price: "Price") -> str:
    """What work costs on rented machines, as far as that is known."""
    from inoc.cli.progress import duration

    text = f"about {price.tokens:,} in {price.jobs} job{'' if price.jobs == 1 else 's'} on {price.hardware}\n"
    if price.hours is not None and price.rate is not None:
        dollars = "" if price.dollars is None else f", about ${price.dollars:,.2f}"
        text += (
            f"about {duration(price.hours * 3600)} of one machine at {price.rate:,.0f} tokens/s{dollars}\n"
        )
    return f"{text}({price.basis})"


def open_backend(experiment: "Experiment", name: str | None = None) -> "Backend":
    """The experiment's backend, or another by name (then without the experiment's backend options)."""
    from dataclasses import replace

    from inoc.backends import load_backend

    spec = experiment.model_spec()
    if name is not None and name != experiment.backend.name:
        spec = replace(spec, options={})
    return load_backend(name or experiment.backend.name, spec)
