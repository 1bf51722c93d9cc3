"""Importers: saved log-probabilities, scores and losses of other pipelines become a run store."""

from inoc.store.imports.assemble import ImportSummary, Sources, import_run

__all__ = ["ImportSummary", "Sources", "import_run"]
