"""Options that several commands have."""

import os
from collections.abc import Callable, Iterable, Sequence
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, get_args

import click

from inoc.errors import BadInput, InocError
from inoc.names import unknown
from inoc.reading import printable
from inoc.values import Recipe

if TYPE_CHECKING:
    from inoc.store.store import Store

LONGEST = 200
"""Bytes of a store's name: its lock and work folder have longer ones."""


class StorePath(click.Path):
    """The directory of a store, which has a name: `.` is read as the folder it is."""

    def convert(  # pyright: ignore[reportIncompatibleMethodOverride]
        self, value: str | os.PathLike[str], param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        given, path = os.fspath(value), Path(value)
        path = path if path.name else path.resolve()
        if not given or not path.name or "\0" in given or len(os.fsencode(path.name)) > LONGEST:
            self.fail(f"{given[:60]!r} cannot name a store. Fix: name its directory, such as study.zarr.", param, ctx)
        return path


class Choice(click.Choice[str]):
    """One of some names; the error for another one says which is near."""

    def get_invalid_choice_message(self, value: object, ctx: click.Context | None) -> str:
        """The sentence after "Invalid value for '--option': "."""
        return unknown("value", str(value), map(str, self.choices))


STORE_PATH = StorePath(path_type=Path)
store_option = click.option("--store", required=True, type=STORE_PATH, help="The store.")
cluster_option = click.option(
    "--cluster", metavar="local:N|ADDRESS|FILE.json",
    help="Work on N processes of this machine, or on the workers of a dask scheduler (docs/cluster.md).",
)  # fmt: skip
recipe_option = click.option(
    "--recipe",
    type=Choice(get_args(Recipe)),
    default="corrected",
    show_default=True,
    help="The recommended formulas, or those that reproduce published numbers.",
)

table_option = click.option(
    "--table", "csv_tables", multiple=True, type=click.Path(path_type=Path),
    help="A pooled results table (CSV) to learn from, too; may be given several times.",
)  # fmt: skip


def complete_heuristics(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """What the shell offers after --only or --heuristics: names of heuristics, after the last comma."""
    from inoc.heuristics.frame.registry import heuristics

    return _after_comma(incomplete, heuristics())


def complete_figures(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """What the shell offers after --only of figures: families and names."""
    from inoc.figures.catalog import FAMILIES, entries

    return _after_comma(incomplete, [*FAMILIES, *(entry.name for entry in entries())])


def complete_prompts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """What the shell offers after --prompts: keys of the experiment file or the store named before it."""
    from inoc.experiment import load_experiment

    of_file = any(param.name == "study" for param in ctx.command.params)
    return _offered(
        ctx,
        incomplete,
        lambda path: load_experiment(path).named() if of_file else _store(path).labels("prompts/prompt"),
    )


def complete_runs(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """What the shell offers after --run: runs of the store named before it."""
    return _offered(ctx, incomplete, lambda path: [name for name, run in _store(path).runs.items() if not run.leak_of])


def complete_traits(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """What the shell offers after --trait: traits of the store named before it."""
    return _offered(ctx, incomplete, lambda path: [trait.name for trait in _store(path).traits])


def _store(path: str | Path) -> "Store":
    from inoc.store.store import open_store

    return open_store(path)


def _offered(ctx: click.Context, incomplete: str, read: Callable[[str | Path], Iterable[str]]) -> list[str]:
    """The names of the file or store that is named before; of several the first one."""
    # the option itself has no value yet, so click has left arguments as plain words
    given: Sequence[str | Path | None] = ctx.args or ctx.params.get("stores") or [ctx.params.get("store")]
    if given[0] is None:
        return []
    try:
        return _after_comma(incomplete, read(given[0]))
    except InocError:
        return []  # nothing is said while a line is typed


def _after_comma(incomplete: str, known: Iterable[str]) -> list[str]:
    before, comma, part = incomplete.rpartition(",")
    return [f"{before}{comma}{name}" for name in known if name.startswith(part)]


def names(text: str | None) -> tuple[str, ...]:
    """A list separated by commas."""
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def store_argument(command: Callable[..., None]) -> Callable[..., None]:
    """The store as an argument or as --store, for commands about one store; they take `store`."""

    @click.argument("place", metavar="[STORE]", required=False, type=STORE_PATH)
    @click.option("--store", type=STORE_PATH, help="The store.")
    @wraps(command)
    def call(place: Path | None, store: Path | None, **options: object) -> None:
        path = store or place
        if path is None:
            name = click.get_current_context().info_name
            raise click.UsageError(f"no store is named. Fix: inoc {name} STORE")
        command(store=path, **options)

    return call


heuristics_option = partial(click.option, metavar="A,B", shell_complete=complete_heuristics)
run_option = partial(click.option, "--run", "runs", multiple=True, shell_complete=complete_runs)
trait_option = click.option("--trait", metavar="NAME", shell_complete=complete_traits, help="Only this trait.")
prompts_of = partial(click.option, "--prompts", metavar="A,B", shell_complete=complete_prompts)
prompts_option = prompts_of(help="Only these prompts: keys or groups, separated by commas.")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")


def counted(n: int, noun: str) -> str:
    """`1 prompt`, `2 prompts`."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def prediction_options(command: Callable[..., None]) -> Callable[..., None]:
    """What predictions are made from and for: `stores`, `untrained`, `prompts`, `control`, `no_prior`."""
    options = (
        click.option(
            "--store", "stores", multiple=True, required=True, type=STORE_PATH,
            help="A store to learn from, as far as it has runs; may be given several times.",
        ),
        click.option(
            "--for", "untrained", type=STORE_PATH,
            help="The store whose prompts to predict.  [default: --store]",
        ),
        prompts_option,
        click.option(
            "--control", multiple=True, metavar="TRAIT=SCORE",
            help="Score of the control run (0-100) where no control run tells it; may be given several times.",
        ),
        click.option("--no-prior", is_flag=True, help="Leave out the calibration that comes with inoc."),
    )  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def scores(given: Sequence[str]) -> dict[str, float]:
    """Trait -> score, from "TRAIT=SCORE" each.

    Raises:
        BadInput: One of them is not like that, or its score is not between 0 and 100.
    """
    found: dict[str, float] = {}
    for text in given:
        trait, _, number = text.rpartition("=")
        try:
            value = float(number)
        except ValueError:
            value = -1.0
        if not trait or not 0 <= value <= 100:
            raise BadInput(
                f"--control {text} is not a score. Fix: give it as TRAIT=SCORE, such as Playful=73.5 (0-100)."
            )
        found[trait] = value
    return found


def say_wrapped(text: str, indent: str = "") -> None:
    """Print a sentence at the width of the terminal, at most 100 columns, 80 where there is no terminal."""
    import shutil
    import sys
    import textwrap

    width = min(shutil.get_terminal_size().columns, 100) if sys.stdout.isatty() else 80
    more = indent + "  "
    click.echo(
        textwrap.fill(printable(text), width, initial_indent=indent, subsequent_indent=more, break_on_hyphens=False)
    )
