"""The table of backends, from their `capabilities`: `python docs/make/backends.py > docs/backends/README.md`."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from textwrap import wrap
from typing import Final

from inoc.backends.protocols import Capabilities
from inoc.backends.registry import SHIPPED, BackendInfo, list_backends

HEAD: Final = """# Backends

<!-- Written by `make docs`; edit the `capabilities` of the backend instead. -->

Where models are scored, sampled and trained. An experiment names one (`backend: {name: local}`), and `--backend NAME`
overrides it; stages see token ids and NumPy only, so all backends work alike. `inoc backends` lists what is installed,
`inoc doctor --backend NAME` checks that it works and scores correctly.
"""
TAIL: Final = """
Backends of other packages are found by their entry point: [write a backend](../write-a-backend.md). Several machines:
[running on a cluster](../cluster.md).
"""
COLUMNS: Final[Mapping[str, tuple[str, str]]] = {
    "score": ("scores", "log-probabilities of given texts"),
    "sample": ("samples", "completions of contexts"),
    "train": ("trains", "low-rank adapters or all weights"),
    "embed": ("embeds", "unit vectors of texts"),
    "probe": ("probes", "gradients, hidden states and logits of the base model"),
    "adapters": ("adapters", "scores or samples with trained adapters"),
    "echoes_token_ids": ("ids", "returns the token ids it scored, so that wrong ones are caught"),
    "shares_prefix": ("prefix", "computes a context shared by many completions once"),
    "top_logprobs": ("top", "how many alternatives it returns for a sampled token"),
    "jobs": ("jobs", "every call is a remote job"),
    "samples_while_training": ("in training", "answers a training's questions in the same job"),
    "merges": ("merges", "trains all weights from an adapter merged into them"),
}
"""Heading and meaning of each field of `Capabilities`."""
PAGES: Final[Mapping[str, str]] = {"openai": "openai_server.md#the-hosted-api-backend-class-openaibackend"}
"""Backends that share another's page."""


def page(infos: Sequence[BackendInfo]) -> str:
    """The Markdown page: a row per shipped backend, a column per capability."""
    shipped = [info for info in infos if info.package == "inoc" and info.name in SHIPPED]
    names = [field.name for field in fields(Capabilities)]
    meanings = "; ".join(f"*{title}*: {meaning}" for title, meaning in map(COLUMNS.__getitem__, names))
    rows = [
        ["backend", "install", *(COLUMNS[name][0] for name in names)],
        ["---"] * (2 + len(names)),
        *([_link(info), f"`{info.extra}`", *(_cell(info, name) for name in names)] for info in shipped),
    ]
    table = "".join("| " + " | ".join(row) + " |\n" for row in rows)
    return "\n".join([HEAD, table, *wrap(f"{meanings}.", 118), TAIL])


def _link(info: BackendInfo) -> str:
    return f"[`{info.name}`]({PAGES.get(info.name, info.name + '.md')})"


def _cell(info: BackendInfo, name: str) -> str:
    value = getattr(info.capabilities, name, None)
    return "?" if value is None else "yes" if value is True else str(value or "")


if __name__ == "__main__":
    sys.stdout.write(page(list_backends()))
