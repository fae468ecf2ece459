"""The report: results -> one self-contained HTML file. It computes nothing."""

from nearkin.report.build import build
from nearkin.report.markdown import write_markdown

__all__ = ["build", "write_markdown"]
