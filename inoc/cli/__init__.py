"""The command line. A command is a file of this folder, imported when it is called, so `inoc --help` is quick.

A new command is a file and its name in COMMANDS. The docstring of the file begins "`inoc NAME`: what it does in one
line."; the click command in it has the name of the file.
"""

import importlib
import io
import keyword
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import click

from inoc._version import __version__
from inoc.cli.waiting import announced
from inoc.errors import InocError
from inoc.names import unknown
from inoc.reading import printable

COMMANDS = (
    "demo", "new", "check", "schema", "import", "merge", "upgrade", "info", "validate", "score", "probe", "heuristics",
    "rephrase", "describe", "elicit", "generate", "train", "evaluate", "judge", "prefill", "run", "answers",
    "outcomes", "compare", "predict", "recommend", "emergence", "figures", "report", "view", "export", "cite",
    "backends", "doctor", "plugins", "new-plugin",
)  # fmt: skip
"""The commands in the order of `inoc --help`."""


def load(name: str) -> click.Command:
    """Import a command."""
    command = getattr(importlib.import_module(f"inoc.cli.{_stem(name)}"), _stem(name))
    assert isinstance(command, click.Command)
    return command


def summary(name: str) -> str:
    """What a command does, in one line, without importing it: the first line of its file."""
    with Path(__file__).with_name(f"{_stem(name)}.py").open(encoding="utf-8") as file:
        text = file.readline().strip().strip('"').partition(": ")[2]
    return text[:1].upper() + text[1:]


def _stem(name: str) -> str:
    return f"{name}_" if keyword.iskeyword(name) else name.replace("-", "_")


class LazyGroup(click.Group):
    """A group whose commands are imported on first use."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        return load(cmd_name) if cmd_name in COMMANDS else None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            raise click.UsageError(unknown("command", name, COMMANDS), ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary(name)) for name in COMMANDS])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="inoc")
@click.option("--debug", is_flag=True, help="Print the traceback of an error nobody foresaw; anywhere in the line.")
def cli(debug: bool) -> None:
    """What will this prompt do to what the model learns, before we pay for the training run?"""


def main(arguments: Sequence[str] | None = None) -> None:
    """Entry point: an error is one sentence on stderr and an exit code (docs/cli.md). None: the arguments of the
    process."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in given
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # also for terminals that lack a character
    sys.exit(_run([name for name in given if name != "--debug"], debug))


def _run(arguments: list[str], debug: bool) -> int:
    """Run a command; the exit code."""
    try:
        with announced(arguments):
            code = cli.main(arguments, prog_name="inoc", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.ClickException as error:
        said = io.StringIO()
        error.show(said)
        click.echo(printable(said.getvalue()), err=True, nl=False)
        return 2
    except InocError as error:
        click.echo(f"inoc: {printable(str(error))}", err=True)
        return error.exit_code
    except (KeyboardInterrupt, click.Abort):
        click.echo("inoc: interrupted; run the same command again to resume.", err=True)
        return 130
    except BrokenPipeError:
        _silence_stdout()
        return 0
    except (Exception, SystemExit) as error:
        from inoc.cli.unforeseen import explained

        _silence_stdout()
        click.echo(f"inoc: {printable(explained(error, arguments, debug))}", err=True)
        return 1


def _silence_stdout() -> None:
    """Where nobody reads it or its disk is full, what it still holds goes nowhere."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
