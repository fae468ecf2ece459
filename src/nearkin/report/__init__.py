"""The report: results -> one self-contained HTML file. It computes nothing."""

from nearkin.report.build import build

__all__ = ["build"]
