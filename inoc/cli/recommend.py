"""`inoc recommend`: rank prompts by the leak they hold back and by what they cost."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import json_option, names, prediction_options, recipe_option, say_wrapped

if TYPE_CHECKING:
    import xarray as xr

    from inoc.values import Recipe

WORDS = {
    "front": "best trade-offs: no other prompt holds back more and costs less",
    "close": "not distinguishable from these",
    "behind": "clearly behind",
}


@click.command()
@prediction_options
@recipe_option
@click.option("--train", type=click.IntRange(min=0), default=0, metavar="K", help="Name the K runs that tell most.")
@click.option("--step", type=int, help="Learn from this step instead of the nominal last one.")
@click.option("--include-flagged", is_flag=True, help="Keep runs whose last steps contradict each other.")
@click.option("--figure", type=click.Path(path_type=Path), help="Draw leak against loss to this file.")
@json_option
def recommend(
    stores: tuple[Path, ...],
    untrained: Path | None,
    prompts: str | None,
    control: tuple[str, ...],
    no_prior: bool,
    recipe: "Recipe",
    train: int,
    step: int | None,
    include_flagged: bool,
    figure: Path | None,
    as_json: bool,
) -> None:
    """Say which prompts hold the leak back at what cost of the wanted trait, and what cannot be told apart.

    Trained prompts count with what was measured, others with what `inoc predict` expects.
    """
    import json

    from inoc.cli.options import scores
    from inoc.heuristics.frame.rows import records
    from inoc.outcomes import recommend as recommend_stores
    from inoc.store.store import open_store

    table = recommend_stores(
        [open_store(path) for path in stores], open_store(untrained) if untrained is not None else None,
        prompts=names(prompts) or None, train=train, control=scores(control), prior=not no_prior, recipe=recipe,
        step=step, include_flagged=include_flagged,
    )  # fmt: skip
    if figure is not None:
        from inoc.figures.recommendation import draw_recommendation

        draw_recommendation(table, figure)
    if as_json:
        said = ("leak_trait", "wanted_trait", "units", "planned", "trust", "doubts", "left_out", "recipe")
        document = {"prompts": records(table), **{name: table.attrs[name] for name in said}}
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    for sentence in [*table.attrs["trust"], *table.attrs["doubts"]]:
        say_wrapped(sentence)
    unit = "pp" if table.attrs["units"] == "pp" else "% of the control's score"
    leak, wanted = table.attrs["leak_trait"], table.attrs["wanted_trait"]
    say_wrapped(f"{leak} held back (more is better) and {wanted} lost (less is better), {unit} [95 %]")
    for standing, words in WORDS.items():
        rows = [i for i, found in enumerate(table["standing"].values.tolist()) if found == standing]
        if rows:
            click.echo(f"{standing}: {words}")
        for i in rows:
            say_wrapped(_line(table.isel(row=i)), "  ")
    if train:
        planned = ", ".join(table.attrs["planned"]) or "none: no untrained prompt is scored"
        say_wrapped(f"Runs that would narrow these answers most, the first first: {planned}.")
    for reason in table.attrs["left_out"]:
        say_wrapped(f"left out: {reason}")


def _line(row: "xr.Dataset") -> str:
    """One prompt in words."""
    scale = 1.0 if row.attrs["units"] == "pp" else 100.0
    numbers = {n: [scale * float(row[f"{n}{end}"]) for end in ("", "_lower", "_upper")] for n in ("leak", "loss")}
    told = {n: f"{round(v)} [{round(low)}, {round(high)}]" for n, (v, low, high) in numbers.items()}
    measured = ", measured" if bool(row["measured"]) else ""
    name = f"{row['prompt'].item()} ({row['prefix_type'].item()}{measured})"
    doubt = "; may hold nothing back" if numbers["leak"][1] <= 0 else ""
    return f"{name}: held back {told['leak']}, lost {told['loss']}{doubt}: {row['text'].item()}"
