"""The page: one HTML file that loads nothing and runs only the script it came with.

Everything that is data travels as one JSON block; the script writes it as text nodes only. The Content-Security-Policy
admits the page's own style and script by their SHA-256 and nothing else.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from inoc.atomic import replaceable, write_file
from inoc.errors import BackendUnavailable, BadInput
from inoc.names import unknown
from inoc.report.build import Report, build_report
from inoc.store.store import Store

SCRIPTS = ("common.js", "table.js", "scatter.js", "angles.js", "outcomes.js", "answers.js", "tokens.js")
"""In the order they run; together one script."""
ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
"""Characters that HTML or JavaScript could read as something other than text."""


@dataclass(frozen=True)
class Written:
    """A report on disk."""

    path: Path
    size: int
    """Bytes."""
    report: Report


def page(report: Report) -> str:
    """The report as HTML.

    Args:
        report: What the page shows.

    Returns:
        The whole page, which loads nothing.

    Raises:
        BackendUnavailable: jinja2 is not installed.
    """
    try:
        from jinja2 import Environment, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise BackendUnavailable("the report needs jinja2. Fix: pip install -e '.[report]' in inoc's clone.") from error
    style = _asset("report.css")
    script = '"use strict";\n' + "\n".join(_asset(name) for name in SCRIPTS)
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(_asset("report.html.j2"))
    return template.render(
        report=report,
        style=Markup(style),
        script=Markup(script),
        style_hash=sha256(style),
        script_hash=sha256(script),
        data=Markup(json_block(report)),
    )


def write_report(
    store: Store,
    path: Path,
    *,
    completion_set: str = "train",
    recipe: str = "corrected",
    tokenizer: Path | None = None,
    seed: int = 0,
) -> Written:
    """Build the report of a store and write it; a file of that name is replaced, whole or not at all.

    Args:
        store: The store to read.
        path: The HTML file.
        completion_set: The set whose heuristics and tokens are shown.
        recipe: "corrected" or "published".
        tokenizer: Directory or `tokenizer.json` of the model's tokenizer; None for the model's own, if it is on
            this machine.
        seed: Of the samples that are shown.

    Returns:
        The file, its size and the report.

    Raises:
        BadInput: The file cannot be written, or the recipe, the completion set or the tokenizer is unknown.
        BackendUnavailable: jinja2 is not installed.
    """
    if recipe not in ("corrected", "published"):
        raise BadInput(unknown("recipe", recipe, ("corrected", "published")))
    replaceable(path)
    if not path.parent.is_dir():
        raise BadInput(f"{path.parent} does not exist. Fix: make the directory, or write {path.name} elsewhere.")
    report = build_report(store, completion_set=completion_set, recipe=recipe, tokenizer=tokenizer, seed=seed)
    text = page(report).encode("utf-8", "replace")
    write_file(path, text)
    return Written(path, len(text), report)


def sha256(text: str) -> str:
    """A Content-Security-Policy source: the hash of an inline element's content."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def json_block(report: Report) -> str:
    """The report as JSON that cannot end or open an element, whatever text it holds."""
    text = json.dumps(
        report, default=vars, allow_nan=False, ensure_ascii=False, separators=(",", ":"), check_circular=False
    )
    for character, escape in ESCAPES.items():
        text = text.replace(character, escape)
    return text


def _asset(name: str) -> str:
    return files("inoc.report").joinpath("assets", name).read_text(encoding="utf-8")
