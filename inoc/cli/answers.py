"""`inoc answers`: read the stored answers side by side, with their scores."""

import json
from pathlib import Path

import click

from inoc.cli.options import json_option, run_option

SHOWN = 20


@click.command()
@click.option("--store", required=True, type=click.Path(path_type=Path), help="A store of evaluated runs.")
@run_option(help="Only this run; give several to see them side by side.")
@click.option("--condition", "conditions", multiple=True, help="Only this condition or probe; may be given again.")
@click.option("--question", default="", help="Only questions that contain this.")
@click.option("--search", default="", help="Only answers that contain this.")
@click.option("--worst", metavar="SCORE", help="The worst answers by this score first.")
@click.option("--disagree", metavar="A,B", help="The answers on which two scores differ most first.")
@click.option("--step", type=int, help="Only this step instead of each run's last one.")
@click.option("--limit", type=click.IntRange(1), default=SHOWN, show_default=True, help="The most answers to print.")
@json_option
def answers(
    store: Path,
    runs: tuple[str, ...],
    conditions: tuple[str, ...],
    question: str,
    search: str,
    worst: str | None,
    disagree: str | None,
    step: int | None,
    limit: int,
    as_json: bool,
) -> None:
    """Read the stored answers: by question, run and condition, each with its scores and coverage."""
    from inoc.cli.options import names
    from inoc.errors import BadInput
    from inoc.outcomes.stored_answers import answers as read
    from inoc.reading import printable
    from inoc.store.store import open_store

    pair = names(disagree)
    if pair and len(pair) != 2:
        raise BadInput("--disagree takes two scores. Fix: write --disagree A,B.")
    found = read(
        open_store(store), runs=runs, conditions=conditions, question=question, search=search, worst=worst,
        disagreement=(pair[0], pair[1]) if pair else None, step=step,
    )  # fmt: skip
    shown = found[:limit]
    if as_json:
        click.echo(json.dumps({"answers": [a._asdict() for a in shown], "found": len(found)}, indent=1))
        return
    last = ""
    for answer in shown:
        if answer.question != last:
            click.echo(f"\n{printable(answer.question)}")
            last = answer.question
        marks = ", ".join(
            f"{name} –" if value is None else f"{name} {value:.0f} ({_share(answer.coverage[name])})"
            for name, value in answer.scores.items()
        )
        sample = f" #{answer.sample}" if answer.sample > 1 else ""
        click.echo(f"  {answer.run}, {answer.condition}, step {answer.step}{sample}: {printable(marks)}")
        click.echo("    " + printable(answer.text).replace("\n", "\n    "))
    if len(found) > len(shown):
        click.echo(f"\n{len(shown)} of {len(found)} answers; --limit shows more.", err=True)


def _share(coverage: float | None) -> str:
    return "coverage –" if coverage is None else f"coverage {coverage:.2f}"
