"""Studies and runs as a table, and a check's findings, on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from nearkin.runs.readers import clean

if TYPE_CHECKING:
    from nearkin.runs.check import Checked, RunSummary, StudySummary

_SIGNS = {"broken": "x", "warning": "!", "note": "-"}


def _accuracy(run: RunSummary) -> str:
    if run.accuracy is None:
        return "-"
    text = f"{100 * run.accuracy:.2f}"
    if run.interval:
        text += f" [{100 * run.interval[0]:.1f}, {100 * run.interval[1]:.1f}]"
    return text


def _epochs(run: RunSummary) -> str:
    return "-" if run.epochs is None else f"{run.epochs}/{run.epochs_planned or '?'}"


def print_runs(studies: Sequence[StudySummary], runs: Sequence[RunSummary], below: Sequence[Path]) -> None:
    """One table per study, and one of the single runs."""
    console = Console()
    for study in studies:
        title = f"study {study.path}: {study.data or 'unknown data'}, {study.done} of {study.planned} runs done, {study.state}"
        _table(console, title, study.runs, short=True)
        if study.problem:
            console.print(f"x {study.problem}", markup=False, highlight=False, soft_wrap=True)
    if runs:
        _table(console, "single runs", runs, short=False)
    broken = sum(run.state == "broken" for study in studies for run in study.runs)
    broken += sum(run.state == "broken" for run in runs)
    total = sum(len(study.runs) for study in studies) + len(runs)
    where = ", ".join(str(path) for path in below)
    counts = f"{len(studies)} {'study' if len(studies) == 1 else 'studies'} and {total} run{'s' if total != 1 else ''}"
    line = f"{counts} below {where}" if total or studies else f"no runs below {where}"
    console.print(line + (f"; {broken} broken" if broken else ""), markup=False, highlight=False, soft_wrap=True)


def _table(console: Console, title: str, runs: Sequence[RunSummary], *, short: bool) -> None:
    table = Table(title=escape(clean(title)), title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    columns = ("method", "seed", "epochs", "layer", "linear, %", "state")
    for column in ("run" if not short else "", *columns):
        if column:
            table.add_column(column, overflow="fold", justify="right" if column in ("seed", "epochs") else "left")
    for run in runs:
        state = run.state + (f": {run.problem}" if run.problem else "")
        cells = [
            run.method or "?",
            "-" if run.seed is None else str(run.seed),
            _epochs(run),
            run.layer or "-",
            _accuracy(run),
            state,
        ]
        table.add_row(*(escape(clean(cell)) for cell in ([] if short else [f"{run.path} ({run.data or '?'})"]) + cells))
    console.print(table)


def print_checks(checks: Sequence[Checked]) -> None:
    """Each folder with its findings, and a last line with the counts."""
    console = Console()

    def say(text: str) -> None:
        console.print(clean(text), markup=False, highlight=False, soft_wrap=True)

    for checked in checks:
        say(f"{checked.state:12s} {checked.folder} ({checked.files} files whole)")
        for finding in checked.findings:
            name = "" if finding.path == checked.folder else f"{finding.path.relative_to(checked.folder)}: "
            say(f"  {_SIGNS[finding.level]} {name}{finding.what}" + (f". To do: {finding.fix}" if finding.fix else ""))
    count = {level: sum(f.level == level for checked in checks for f in checked.findings) for level in _SIGNS}
    say(f"{count['broken']} broken, {count['warning']} warnings")
