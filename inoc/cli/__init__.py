"""The command line. Commands are listed here by name and imported only when called, so `inoc --help` is quick."""

import importlib
import sys

import click

from inoc._version import __version__
from inoc.errors import InocError

# command name -> (module, attribute, one-line help); the help stands here so that listing imports nothing
COMMANDS: dict[str, tuple[str, str, str]] = {
    "demo": ("inoc.cli.demo", "demo", "Run the shipped testbed study from scoring to outcomes."),
    "new": ("inoc.cli.new", "new", "Write a commented experiment file to start from."),
    "check": ("inoc.cli.check", "check", "Report every problem of an experiment file at once."),
    "import": ("inoc.cli.import_", "import_", "Make a run store from saved logprobs and scores."),
    "info": ("inoc.cli.info", "info", "Show what a run store holds and what is missing."),
    "validate": ("inoc.cli.validate", "validate", "Verify a run store, every chunk and checksum."),
    "score": ("inoc.cli.score", "score", "Score completions token by token with and without the prompts."),
    "heuristics": ("inoc.cli.heuristics", "heuristics", "Compute the table of base-model heuristics."),
    "rephrase": ("inoc.cli.rephrase", "rephrase", "Make or check the rephrasing pools."),
    "describe": ("inoc.cli.describe", "describe", "Self-perplexity and embeddings of the prompts."),
    "elicit": ("inoc.cli.elicit", "elicit", "Measure how far each prompt alone brings out the traits."),
    "generate": ("inoc.cli.generate", "generate", "Sample completion sets from the base model."),
    "train": ("inoc.cli.train", "train", "Fine-tune the runs of an experiment."),
    "evaluate": ("inoc.cli.evaluate", "evaluate", "Sample the trained checkpoints and judge the answers."),
    "run": ("inoc.cli.run", "run", "All stages of a study in order, each resumable."),
    "outcomes": ("inoc.cli.outcomes", "outcomes", "Suppression, gaps and how well heuristics predict them."),
    "predict": ("inoc.cli.predict", "predict", "Predict the suppression of prompts nobody has trained on."),
    "figures": ("inoc.cli.figures", "figures", "Draw the figures of a run store."),
    "report": ("inoc.cli.report", "report", "Write one self-contained HTML report."),
    "backends": ("inoc.cli.backends", "backends", "List installed backends and what each can do."),
    "doctor": ("inoc.cli.doctor", "doctor", "Check that this machine can score correctly."),
}


class LazyGroup(click.Group):
    """A group whose commands are imported on first use and whose errors are one sentence."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, attribute, _ = COMMANDS[cmd_name]
        command = getattr(importlib.import_module(module), attribute)
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0] if args else ""
        if name not in COMMANDS and not name.startswith("-"):
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean '{near[0]}'?" if near else " `inoc --help` lists the commands."
            raise click.UsageError(f"no command '{name}'.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, _, line) in COMMANDS.items()])


@click.group(
    cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110}
)
@click.version_option(__version__, prog_name="inoc")
def cli() -> None:
    """What will this prompt do to what the model learns, before we pay for the training run?"""


def main() -> None:
    """Entry point: errors a user can mend are one sentence on stderr; exit codes are documented in docs/cli.md."""
    try:
        sys.exit(cli.main(standalone_mode=False))
    except click.ClickException as error:
        error.show()
        sys.exit(2)
    except InocError as error:
        click.echo(f"inoc: {error}", err=True)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        click.echo("inoc: interrupted; the same command continues where it stopped.", err=True)
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(0)
