"""`inoc schema`: print the JSON schema of the experiment file, with which editors complete and check it."""

import json

import click


@click.command()
def schema() -> None:
    """Print the JSON schema of the experiment file.

    An editor with a YAML language server completes fields and marks mistakes in a file whose first line names the
    schema. `inoc new` writes that line and inoc.schema.json next to the file; renew it with `inoc schema`.
    """
    click.echo(text(), nl=False)


def text() -> str:
    """The schema as JSON."""
    from inoc.experiment import Experiment

    found = Experiment.model_json_schema()
    return json.dumps({"$schema": "https://json-schema.org/draft/2020-12/schema", **found}, indent=1) + "\n"
