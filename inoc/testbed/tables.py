"""The words of the world, of its rephraser and its grammar: `data/tables.json`, edited by hand."""

import json
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

DATA: Final = Path(str(files("inoc.testbed"))) / "data"


def _frozen(value: Any) -> Any:
    """JSON with tuples in place of lists."""
    if isinstance(value, dict):
        return {str(name): _frozen(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return tuple(map(_frozen, value)) if isinstance(value, list) else value  # pyright: ignore[reportUnknownArgumentType]


TABLES: Final[dict[str, dict[str, Any]]] = _frozen(json.loads((DATA / "tables.json").read_text(encoding="utf-8")))
