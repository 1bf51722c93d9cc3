"""`inoc predict`: predict the suppression of prompts without a run."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from inoc.cli.options import (
    heuristics_option,
    json_option,
    names,
    prediction_options,
    recipe_option,
    say_wrapped,
    table_option,
    trait_option,
)

if TYPE_CHECKING:
    from inoc.values import Recipe


@click.command()
@prediction_options
@table_option
@recipe_option
@heuristics_option("--heuristics", help="Let the predictor read these heuristics only.")
@click.option(
    "--model", metavar="NAME", help="Only this model: gate, 'Bayesian gate', ..., or yours as package:Estimator.",
)  # fmt: skip
@trait_option
@click.option("--step", type=int, help="Learn from this step instead of the nominal last one.")
@click.option("--include-flagged", is_flag=True, help="Keep runs whose last steps contradict each other.")
@json_option
def predict(
    stores: tuple[Path, ...],
    untrained: Path | None,
    prompts: str | None,
    control: tuple[str, ...],
    no_prior: bool,
    csv_tables: tuple[Path, ...],
    recipe: "Recipe",
    heuristics: str | None,
    model: str | None,
    trait: str | None,
    step: int | None,
    include_flagged: bool,
    as_json: bool,
) -> None:
    """Predict how much untrained prompts would keep a trait quiet, in percentage points with a 95 % interval.

    Learns from prompts that were trained and evaluated, in any study: traits are compared by role. Without such
    runs the calibration that comes with inoc answers. Says how wrong it is on families and stores it has not seen.
    """
    import json

    from inoc.cli.options import scores
    from inoc.names import refuse_unknown
    from inoc.outcomes import predict as predict_stores
    from inoc.outcomes import read_rows
    from inoc.outcomes.advice import (
        cards,
        doubts,
        model_records,
        prediction_records,
        silent_about_others,
        trust,
        unpredicted,
    )  # fmt: skip
    from inoc.outcomes.tidy import prompt_column
    from inoc.store.store import open_store

    opened = [open_store(path) for path in stores]
    source = open_store(untrained) if untrained is not None else None
    found = predict_stores(
        opened, source, tables=[read_rows(csv_tables, recipe=recipe)] if csv_tables else (),
        heuristics=names(heuristics) or None, prompts=names(prompts) or None, model=model, control=scores(control),
        prior=not no_prior, recipe=recipe, step=step, include_flagged=include_flagged,
    )  # fmt: skip
    known = [str(name) for name in found["trait"].values]
    refuse_unknown("trait", [] if trait is None else [trait], known)
    texts: dict[str, str] = {}
    for store in opened if source is None else [source]:
        texts |= prompt_column(store, "text")
    advice = [card for card in cards(found, texts) if trait in (None, card.trait)]
    trusted, silent = [*trust(found), *doubts(found)], silent_about_others(found)
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
        say_wrapped(sentence)
    for reason in found.attrs["left_out"]:
        say_wrapped(f"left out of the learning: {reason}")
    for name in known:
        mine = [card for card in advice if card.trait == name]
        if mine:
            say_wrapped(f"{name}: expected suppression of prompts not trained yet [95 %]")
        for card in mine:
            say_wrapped(str(card), "  ")
    for reason, without in unpredicted(found, trait).items():
        say_wrapped(f"no prediction ({reason}): {', '.join(without)}")
    if silent:
        say_wrapped(silent)
