"""Importers: saved log-probabilities, scores and losses of other pipelines become a store."""

from inoc.store.imports.assemble import Sources
from inoc.store.imports.making import import_run
from inoc.store.imports.rows import Importer, LogprobRow, ScoreRow
from inoc.store.imports.writing import ImportSummary

__all__ = ["ImportSummary", "Importer", "LogprobRow", "ScoreRow", "Sources", "import_run"]
