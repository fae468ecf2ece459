"""nearkin report: the report of a study, made again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def report(
    study: Annotated[Path, typer.Argument(help="Folder written by 'nearkin study'.")],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="HTML file. Default: report.html in the folder.")
    ] = None,
) -> None:
    """Write the self-contained HTML report of a study."""
    from nearkin.folders import StudyFolder
    from nearkin.report import build, write_markdown

    options.check_outputs(StudyFolder(study).results_file, html=out)
    target = build(study, out)
    write_markdown(study)
    typer.echo(f"report: {target}")
