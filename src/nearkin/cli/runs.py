"""nearkin runs: what lies below some folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def runs(
    folders: Annotated[list[Path], typer.Argument(metavar="FOLDER...", help="Folders to look in, at any depth.")],
    as_json: options.JsonOut = None,
) -> None:
    """List studies and runs: method, seed, data, epochs, the primary layer's linear probe, and whether they are whole.

    Weights and vectors are not read; 'nearkin doctor' does that.
    """
    from nearkin.fileio import write_json
    from nearkin.runs.check import summarize_run, summarize_study
    from nearkin.runs.output import print_runs
    from nearkin.runs.run import find_runs

    below = [find_runs(folder) for folder in folders]
    studies = [summarize_study(study.folder) for study in dict.fromkeys(study for each, _ in below for study in each)]
    single = [summarize_run(run.folder) for run in dict.fromkeys(run for _, each in below for run in each)]
    print_runs(studies, single, folders)
    if as_json is not None:
        write_json(as_json, {"studies": [s.to_dict() for s in studies], "runs": [r.to_dict() for r in single]})
        typer.echo(f"written: {as_json}")
