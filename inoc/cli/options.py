"""Options that several commands have."""

from pathlib import Path
from typing import get_args

import click

from inoc.values import Recipe

store_option = click.option("--store", required=True, type=click.Path(path_type=Path), help="The store.")
recipe_option = click.option(
    "--recipe",
    type=click.Choice(get_args(Recipe)),
    default="corrected",
    show_default=True,
    help="The recommended formulas, or those that reproduce published numbers.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
