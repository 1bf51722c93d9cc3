"""The docstring of a plot: its own words, and what its data function says of the parameters both have."""

import inspect
import re
from collections.abc import Mapping
from types import FunctionType
from typing import Final

SECTION: Final = re.compile(r"^(Args|Returns|Raises|Example):\n", re.MULTILINE)
COMMON: Final = """    data: What `{data}` returned; None to compute it.
    ax: The axes to draw into; None for a new figure.
"""
ENTRY: Final = re.compile(r"^    (\w+): ", re.MULTILINE)


def complete_docstring(plot: FunctionType, data: FunctionType) -> str:
    """The complete Google-style docstring of a plot function.

    Args:
        plot: Its docstring describes what its data function does not.
        data: The function that computes what is drawn.
    """
    own, shared = _sections(plot), _sections(data)
    common = COMMON.format(data=data.__name__)
    entries = _entries(shared.get("Args", "")) | _entries(common) | _entries(own.get("Args", ""))
    arguments = "".join(entries[name] for name in inspect.signature(plot).parameters)
    raised = _entries(shared.get("Raises", "")) | _entries(own.get("Raises", ""))
    parts = {
        "Args": arguments,
        "Returns": own.get("Returns", "    The axes.\n"),
        "Raises": "".join(raised.values()),
        "Example": own.get("Example", ""),
    }
    text = "\n".join(f"{title}:\n{body}" for title, body in parts.items() if body)
    return f"{own['']}\n\n{text}"


def _sections(function: FunctionType) -> Mapping[str, str]:
    """Title -> text of a docstring; "" -> what comes before the first title."""
    first, *rest = SECTION.split(inspect.cleandoc(function.__doc__ or ""))
    texts = {title: f"{text.rstrip()}\n" for title, text in zip(rest[::2], rest[1::2], strict=True)}
    return {"": first.strip(), **texts}


def _entries(text: str) -> dict[str, str]:
    """Name -> its lines, of a section with one entry per name."""
    _, *rest = ENTRY.split(text)
    return {name: f"    {name}: {words}" for name, words in zip(rest[::2], rest[1::2], strict=True)}
