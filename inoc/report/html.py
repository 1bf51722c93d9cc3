"""The page: one HTML file that loads nothing and runs only the script it came with.

Everything that is data travels as one JSON block; the script writes it as text nodes only. The Content-Security-Policy
admits the page's own style and script by their SHA-256 and nothing else.
"""

import base64
import hashlib
import json
import re
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from pathlib import Path

import inoc.looks as looks
from inoc.atomic import replaceable, write_file
from inoc.errors import BadInput
from inoc.names import unknown
from inoc.report.build import Report, build_report
from inoc.store.store import Store

SCRIPTS = (
    "common.js", "summary.js", "curves.js", "table.js", "scatter.js", "angles.js", "outcomes.js", "answers.js",
    "tokens.js", "page.js",
)  # fmt: skip
"""In the order they run; together one script."""
FOOTER = "This file is complete: it loads nothing and sends nothing."
LIVE_FOOTER = "It loads from this machine only."
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
    """
    text, _ = _filled(report.title, json_block(report), FOOTER, "")
    return text


def live_page(title: str) -> tuple[str, str]:
    """The same page without data, which it asks of the server it came from; and its Content-Security-Policy."""
    return _filled(title, '{"live":true}', LIVE_FOOTER, "connect-src 'self'; ")


def _filled(title: str, data: str, footer: str, connect: str) -> tuple[str, str]:
    """The page, and the policy it has in its head."""
    style = f"{_colors()}\n{_asset('report.css')}"
    script = f'"use strict";\nconst LOOKS = {as_json(_LOOKS)};\n' + "\n".join(_asset(name) for name in SCRIPTS)
    policy = (
        f"default-src 'none'; style-src '{sha256(style)}'; script-src '{sha256(script)}'; img-src data:; {connect}"
        "base-uri 'none'; form-action 'none'"
    )
    texts = {
        "title": escape(title), "policy": policy, "style": style, "script": script, "data": data, "footer": footer,
    }  # fmt: skip
    text = re.sub(r"\{\{(\w+)\}\}", lambda found: texts[found[1]], _asset("page.html"))
    return text, policy


_LOOKS = {"fills": looks.FILLS, "shapes": looks.SHAPES, "dashed": looks.DASHED, "angles": looks.ANGLES}


def _colors() -> str:
    """The colors of marks, as in the figures; the dark ones are in the style sheet."""
    colors = {**looks.COLORS, "unknown": looks.UNKNOWN}
    listed = " ".join(f"--mark-{role}: {color};" for role, color in colors.items())
    return f":root {{ {listed} --pale: {looks.PALE}; }}"


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
    text = as_json(report)
    for character, code in ESCAPES.items():
        text = text.replace(character, code)
    return text


def as_json(content: object) -> str:
    """JSON of plain values and dataclasses."""
    return json.dumps(
        content, default=vars, allow_nan=False, ensure_ascii=False, separators=(",", ":"), check_circular=False
    )


def _asset(name: str) -> str:
    return files("inoc.report").joinpath("assets", name).read_text(encoding="utf-8")
