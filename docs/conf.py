"""The documentation site: `make docs` builds it into build/docs, and every warning is an error.

The pages are those that GitHub shows. Only here are the reference, made from the docstrings, and the tutorials with
what they print and draw: each is run, as a notebook.
"""

import inspect
import os
import re
import sys
from pathlib import Path

from myst_nb.core import render
from nbformat import NotebookNode
from pygments.lexers.special import TextLexer
from sphinx.application import Sphinx

HERE = Path(__file__).parent
ROOT = HERE.parent
sys.path.insert(0, str(HERE))

from make import pages  # noqa: E402

from inoc import __version__  # noqa: E402

project = "inoc"
author = "The inoc developers"
release = version = __version__
source = "https://github.com/inoc-dev/inoc"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "myst_nb"]
exclude_patterns = ["make"]
suppress_warnings = ["ref.python"]  # a word such as trait, in the place of a type, that several classes have as a field
html_theme = "furo"
html_title = f"inoc {release}"
html_theme_options = {"source_repository": source, "source_branch": "main", "source_directory": "docs/"}

myst_heading_anchors = 4
nb_execution_mode = "force"
nb_execution_show_tb = True
nb_execution_timeout = 1500
nb_execution_in_temp = True
nb_merge_streams = True

default_role = "code"  # docstrings are written with single backticks
autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints = "description"
napoleon_use_ivar = True
napoleon_use_rtype = False
python_maximum_signature_line_length = 88

REFERENCE = HERE / "reference"
REFERENCE_HEAD = """# Reference

The public names with their arguments, types and errors, from the docstrings; [one table](../api.md) has all of them.
"""
OUTSIDE = re.compile(r"\]\((?!https?:)([^)#\s]+)((?:#[^)\s]*)?)\)")
"""A link to a file."""


def write_reference(_: Sphinx) -> None:
    """A page for every package with public names."""
    REFERENCE.mkdir(exist_ok=True)
    _renew(REFERENCE / "index.md", f"{REFERENCE_HEAD}\n```{{toctree}}\n" + "\n".join(pages.packages()) + "\n```\n")
    seen: dict[int, str] = {}
    for package in pages.packages():
        blocks = [f".. automodule:: {package}\n   :no-members:\n"]
        for name, value in pages.public(package).items():
            if not inspect.ismodule(value) and seen.setdefault(id(value), package) == package:
                blocks.append(_directive(f"{package}.{name}", value))
        _renew(REFERENCE / f"{package}.md", f"# {package}\n\n```{{eval-rst}}\n" + "\n".join(blocks) + "```\n")


def _directive(name: str, value: object) -> str:
    if isinstance(value, type):
        return f".. auto{'exception' if issubclass(value, Exception) else 'class'}:: {name}\n"
    return f".. autofunction:: {name}\n" if callable(value) else f".. py:data:: {name}\n\n   {pages.summary(value)}\n"


def _renew(path: Path, text: str) -> None:
    if not path.exists() or path.read_text("utf-8") != text:
        path.write_text(text, "utf-8")


def prepare(_: Sphinx, docname: str, text: list[str]) -> None:
    """The first page begins with the README; what a page links outside docs/ is on GitHub."""
    page = HERE / f"{docname}.md"
    if docname == "index":
        page, text[0] = ROOT / "README.md", (ROOT / "README.md").read_text("utf-8") + text[0]

    def there(match: re.Match[str]) -> str:
        target = page.parent.joinpath(match[1]).resolve()
        if target.is_relative_to(HERE) or not target.is_relative_to(ROOT):
            inside = target.relative_to(HERE).as_posix() if docname == "index" else match[1]
            return f"]({inside}{match[2]})"
        return f"]({source}/tree/main/{target.relative_to(ROOT).as_posix()}{match[2]})"

    text[0] = OUTSIDE.sub(there, text[0])


def whole_streams(outputs: list[NotebookNode]) -> list[NotebookNode]:
    """Join what a cell prints to each stream, byte by byte; MyST-NB's own ends a line after every piece."""
    joined: dict[str, NotebookNode] = {}
    for output in outputs:
        if output["output_type"] == "stream":
            first = joined.setdefault(output["name"], output)
            first["text"] += output["text"] if first is not output else ""
    return [o for o in outputs if o["output_type"] != "stream" or joined[o["name"]] is o]


def setup(app: Sphinx) -> None:
    """What Sphinx calls."""
    # what the tutorials run: this installation, tables of one width, files of this clone
    os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    os.environ |= {"COLUMNS": "90", "INOC_CLONE": str(ROOT), "PYTHONWARNINGS": "ignore"}
    render.coalesce_streams = whole_streams
    app.add_lexer("arrows", TextLexer)
    app.connect("builder-inited", write_reference)
    app.connect("source-read", prepare)
