"""Stores for other tools: one wide table, a data-set folder, logs of Inspect. `inoc export` writes them."""

from inoc.exports.files import FORMATS, export
from inoc.exports.table import Wide, wide

__all__ = ["FORMATS", "Wide", "export", "wide"]
