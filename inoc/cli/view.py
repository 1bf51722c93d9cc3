"""`inoc view`: watch stores in the browser while they are written."""

from pathlib import Path
from tempfile import TemporaryDirectory

import click

from inoc.cli.options import STORE_PATH, recipe_option


@click.command()
@click.argument("stores", metavar="STORE...", nargs=-1, required=True, type=STORE_PATH)
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="Where to listen.  [default: any free port]")
@click.option("--no-browser", is_flag=True, help="Print the address and open nothing.")
@click.option("--set", "completion_set", default="train", show_default=True, help="Completion set.")
@recipe_option
@click.option("--tokenizer", type=click.Path(path_type=Path), help="As of `inoc report`.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of the examples and answers that are shown.")
def view(
    stores: tuple[Path, ...],
    port: int,
    no_browser: bool,
    completion_set: str,
    recipe: str,
    tokenizer: Path | None,
    seed: int,
) -> None:
    """Show STORES on a page of this machine that follows them while they are written; Ctrl-C ends it.

    The page is that of `inoc report`, with the progress of each stage and a comparison of the stores. Only this
    machine can open it, and only with the whole address that is printed.
    """
    from inoc.errors import BackendUnavailable
    from inoc.names import refuse_unknown
    from inoc.store.store import open_store

    try:
        from inoc.report.serve import Watched, serve
    except ImportError as error:
        raise BackendUnavailable(
            "the page needs starlette and uvicorn. Fix: pip install -e '.[view]' in inoc's clone."
        ) from error
    for path in stores:
        sets = open_store(path).completion_sets
        refuse_unknown("completion set", [completion_set] if sets else [], sets, f"{path}: ")
    watched = [Watched(path, completion_set, "published" if recipe == "published" else "corrected", tokenizer, seed)
               for path in stores]  # fmt: skip
    address, server = serve(watched, port)
    click.echo(address)
    click.echo("Ctrl-C ends it.", err=True)
    with TemporaryDirectory(prefix="inoc-view-") as private:
        if not no_browser:
            # the browser gets the address from a file of the user's: arguments of processes are seen by everyone
            door = Path(private) / "open.html"
            door.write_text(f'<!doctype html><meta http-equiv="refresh" content="0; url={address}">')
            click.launch(str(door))
        try:
            server.run()
        except KeyboardInterrupt:
            click.echo("ended.", err=True)
