"""`inoc backends`: list the installed backends and what each can do."""

import json
import warnings

import click

from inoc.backends import BackendInfo, list_backends
from inoc.backends.base import how_to_install
from inoc.cli.options import json_option

FLAGS = ("score", "sample", "train", "embed", "probe", "adapters", "shares_prefix")


@click.command()
@json_option
def backends(as_json: bool) -> None:
    """List installed backends and what each can do."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        infos = list_backends()
    for warning in caught:
        click.echo(f"warning: {warning.message}", err=True)
    if as_json:
        click.echo(json.dumps([info.to_json() for info in infos], indent=2))
        return
    width = max((len(info.name) for info in infos), default=0)
    for info in infos:
        click.echo(f"{info.name:<{width}}  {state(info)}")
        if info.capabilities is not None:
            can = [name.replace("_", " ") for name in FLAGS if getattr(info.capabilities, name)]
            click.echo(f"{'':<{width}}  can: {', '.join(can) or 'nothing'}")


def state(info: BackendInfo) -> str:
    """Whether the backend can be used here, and what to do if not."""
    if info.error is not None:
        return f"broken: {info.error} (package {info.package})"
    if info.missing:
        return f"not installed: {how_to_install(info.extra, info.missing)} (missing {', '.join(info.missing)})"
    return f"ready (package {info.package})"
