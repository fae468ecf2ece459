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
    from nearkin.runs.findings import clean
    from nearkin.runs.output import print_checks
    from nearkin.runs.verify import examine

    checks = examine(folder)
    print_checks(checks)
    if as_json is not None:
        rows = [
            {"path": clean(c.folder), "state": c.state, "files": c.files, "findings": [f.to_dict() for f in c.findings]}
            for c in checks
        ]
        write_json(as_json, {"checked": rows})
        typer.echo(f"written: {as_json}")
    if any(checked.state == "broken" for checked in checks):
        raise typer.Exit(1)
