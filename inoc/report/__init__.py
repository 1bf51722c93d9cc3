"""One self-contained HTML page about a store: `write_report(store, path)`, `inoc report`."""

from inoc.report.build import Report, build_report
from inoc.report.html import page, write_report

__all__ = ["Report", "build_report", "page", "write_report"]
