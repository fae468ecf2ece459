"""nearkin doctor: whether a run or a study is whole."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def doctor(
    folder: Annotated[Path, typer.Argument(metavar="RUN|STUDY", help="Folder of a run or of a study.")],
    as_json: options.JsonOut = None,
) -> None:
    """Read every file of a run or study and say what is missing, damaged, edited or left over, and what to do.

    Exit code 1 when something is broken; an interrupted run is not.
    """
    from nearkin.fileio import write_json
    from nearkin.runs.check import BROKEN, examine
    from nearkin.runs.output import print_checks

    checks = examine(folder)
    print_checks(checks)
    if as_json is not None:
        write_json(as_json, {"checked": [checked.to_dict() for checked in checks]})
        typer.echo(f"written: {as_json}")
    if any(checked.state == BROKEN for checked in checks):
        raise typer.Exit(1)
