"""`inoc plugins`: list what is installed at every door, what each package offers, and what is broken."""

import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from inoc.cli.options import json_option

if TYPE_CHECKING:
    from inoc.plugins import Registry


class Offer(NamedTuple):
    """One entry point: who offers what under which name, and why it cannot be loaded ("" where it can)."""

    door: str
    name: str
    package: str
    version: str
    offers: list[str]
    error: str


@click.command()
@click.option("--all", "everything", is_flag=True, help="List also what inoc itself offers.")
@json_option
def plugins(everything: bool, as_json: bool) -> None:
    """List the plugins that are installed, what each offers, and why one cannot be loaded.

    Every plugin is imported for it. docs/plugins.md says how to write one.
    """
    import json

    from inoc.reading import printable

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a warning would say is in the list
        found = [offer for offer in offers() if everything or offer.package != "inoc"]
    if as_json:
        click.echo(json.dumps([offer._asdict() for offer in found], indent=1))
        return
    for offer in found:
        what = f"broken: {offer.error}" if offer.error else ", ".join(offer.offers)
        click.echo(printable(f"{offer.door:<10} {offer.name}  ({offer.package} {offer.version})  {what}".rstrip()))
    if not found:
        click.echo("No plugin is installed. `inoc new-plugin KIND NAME` writes one to start from.", err=True)


def offers() -> Iterator[Offer]:
    """Every entry point of every door, imported."""
    from inoc.errors import BackendUnavailable
    from inoc.heuristics import heuristics

    for registry in registries():
        for name, plugin in registry.plugins.items():
            given, error = [name], ""
            try:
                loaded = registry.get(name)
                if registry.group == "inoc.heuristics":
                    package = plugin.target.partition(":")[0].partition(".")[0]
                    given = [entry.name for entry in heuristics().values() if entry.package == package]
                elif registry.group == "inoc.figures":
                    given = [entry.name for entry in loaded]
            except BackendUnavailable as cause:
                error = f"{type(cause.__cause__).__name__}: {cause.__cause__}"
            yield Offer(registry.group.partition(".")[2], name, plugin.package, plugin.version, given, error)


def registries() -> "Iterator[Registry[Any]]":
    """The registry of every door; figures only where matplotlib is installed."""
    from inoc.backends.registry import BACKENDS
    from inoc.experiment.datasets import DATASETS
    from inoc.heuristics.frame import registry as heuristics
    from inoc.judge.registry import JUDGES
    from inoc.stages.watchers import WATCHERS
    from inoc.store.imports.importers import IMPORTERS

    heuristics.load()
    yield from (BACKENDS, heuristics.PLUGINS, JUDGES)
    try:
        from inoc.figures import catalog
    except ImportError:
        pass
    else:
        catalog.entries()
        yield catalog.PLUGINS
    yield from (IMPORTERS, DATASETS, WATCHERS)
