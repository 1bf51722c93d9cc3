"""One self-contained HTML page about a run store: `write_report(run, path)`, `inoc report`."""

from inoc.report.build import Report, build
from inoc.report.html import page, write_report

__all__ = ["Report", "build", "page", "write_report"]
