"""nearkin data: look at a data set."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from nearkin.cli import options

app = typer.Typer(help="Look at a data set.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Look at a data set."""


@app.command()
def info(
    data: options.Data,
    labels: options.Labels = None,
    size: options.Size = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a data set holds: sizes, classes, exact duplicates, unreadable files."""
    from nearkin.cli.tables import print_data
    from nearkin.data import describe, load

    found = describe(load(data, labels=labels, size=size, strict=strict, progress=not quiet))
    if as_json:
        typer.echo(json.dumps(found, indent=1))
    else:
        print_data(found)
