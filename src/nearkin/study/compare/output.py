"""A comparison on the terminal."""

from __future__ import annotations

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.study.compare import Report
from nearkin.study.compare.markdown import cells


def print_comparison(report: Report) -> None:
    """A table per comparison, then one sentence each, then the notes."""
    console = Console()
    for comparison in report.comparisons:
        title = escape(f"{comparison.other} against {comparison.reference}")
        table = Table(title=title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
        for column in ("metric", "reference", "other", "difference", "p, corrected", ""):
            table.add_column(column, overflow="fold", justify="right" if column in ("reference", "other") else "left")
        for difference in comparison.differences:
            table.add_row(*(escape(cell) for cell in cells(difference)))
        console.print(table)
    for comparison in report.comparisons:
        console.print(comparison.sentence, markup=False, highlight=False, soft_wrap=True)
    for note in report.notes:
        console.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
