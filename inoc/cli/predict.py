"""`inoc predict`: predict the suppression of prompts without a run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import STORE_PATH, json_option, names, recipe_option

if TYPE_CHECKING:
    from inoc.values import Recipe


@click.command()
@click.option(
    "--store", "stores", multiple=True, required=True, type=STORE_PATH,
    help="A store with trained prompts to learn from; may be given several times.",
)  # fmt: skip
@click.option(
    "--for", "untrained", type=STORE_PATH,
    help="The store whose prompts to predict.  [default: --store]",
)  # fmt: skip
@recipe_option
@click.option("--heuristics", metavar="A,B", help="Let the predictor read these heuristics only.")
@click.option("--trait", metavar="NAME", help="Only this trait.")
@click.option("--step", type=int, help="Learn from this step instead of the nominal last one.")
@click.option("--include-flagged", is_flag=True, help="Keep runs whose last steps contradict each other.")
@json_option
def predict(
    stores: tuple[Path, ...],
    untrained: Path | None,
    recipe: "Recipe",
    heuristics: str | None,
    trait: str | None,
    step: int | None,
    include_flagged: bool,
    as_json: bool,
) -> None:
    """Predict how much untrained prompts would keep a trait quiet, in percentage points with a 95 % interval.

    Learns from prompts that were trained and evaluated (at least 4, rough below 20) and says how wrong it is
    on families and stores it has not seen.
    """
    import json

    from inoc.errors import BadInput
    from inoc.names import unknown
    from inoc.outcomes import predict as predict_stores
    from inoc.outcomes.advice import cards, model_records, prediction_records, silent_about_others, trust, unpredicted
    from inoc.outcomes.tidy import prompt_column
    from inoc.store.store import open_store

    opened = [open_store(path) for path in stores]
    source = open_store(untrained) if untrained is not None else None
    wanted = names(heuristics) or None
    found = predict_stores(opened, source, heuristics=wanted, recipe=recipe, step=step, include_flagged=include_flagged)
    known = [str(name) for name in found["trait"].values]
    if trait is not None and trait not in known:
        raise BadInput(unknown("trait", trait, known))
    texts: dict[str, str] = {}
    for store in opened if source is None else [source]:
        texts |= prompt_column(store, "text")
    advice = [card for card in cards(found, texts) if trait in (None, card.trait)]
    trusted, silent = trust(found), silent_about_others(found)
    if as_json:
        document = {
            "predictions": [r for r in prediction_records(found) if trait in (None, r["trait"])],
            "advice": [{"trait": card.trait, "text": str(card)} for card in advice],
            "models": model_records(found),
            "trust": [*trusted, *([silent] if silent else [])],
            "left_out": list(found.attrs["left_out"]),
            "recipe": found.attrs["recipe"],
        }
        click.echo(json.dumps(document, indent=1, allow_nan=False))
        return
    for sentence in trusted:
        click.echo(sentence)
    for reason in found.attrs["left_out"]:
        click.echo(f"left out of the learning: {reason}")
    for name in known:
        mine = [card for card in advice if card.trait == name]
        if mine:
            click.echo(f"{name}: expected suppression of prompts not trained yet [95 %]")
        for card in mine:
            click.echo(f"  {card}")
    for reason, prompts in unpredicted(found, trait).items():
        click.echo(f"no prediction ({reason}): {', '.join(prompts)}")
    if silent:
        click.echo(silent)
