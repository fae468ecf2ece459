"""nearkin data: look at a data set, make a store of shards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options
from nearkin.errors import one_line

app = typer.Typer(help="Look at a data set, or make a store of a large one.", no_args_is_help=True)


@app.callback()
def _data() -> None:
    """Look at a data set, or make a store of a large one."""


@app.command()
def info(
    data: options.Data,
    labels: options.Labels = None,
    image_column: options.ImageColumn = None,
    label_column: options.LabelColumn = None,
    value_range: options.ValueRange = None,
    size: options.Size = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say what a data set holds: sizes, classes, exact duplicates, what was left out and why."""
    from nearkin.cli.tables import print_data
    from nearkin.data import describe, load

    read = options.read_options(image_column, label_column, value_range)
    description = describe(load(data, labels=labels, size=size, strict=strict, progress=not quiet, read=read))
    if as_json:
        typer.echo(json.dumps(description, indent=1))
    else:
        print_data(description)


@app.command()
def ingest(
    shards: options.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the store; must not exist yet.")],
    image_column: options.ImageColumn = None,
    label_column: options.LabelColumn = None,
    value_range: options.ValueRange = None,
    size: options.Size = None,
    strict: options.Strict = False,
    quiet: options.Quiet = False,
) -> None:
    """Decode sharded images into a memory-mapped store, which every command takes as its data."""
    from nearkin.data.store import ingest as make
    from nearkin.data.store import open_store

    read = options.read_options(image_column, label_column, value_range)
    make(shards, out, size=size, strict=strict, progress=not quiet, read=read)
    made = open_store(out)
    n = len(made.train) + (0 if made.test is None else len(made.test))
    left = f", {len(made.skipped):,} unreadable" if made.skipped else ""
    for note in (*made.notes, *made.left_out):
        typer.echo(one_line(f"note: {note}"))
    typer.echo(f"{n:,} images of side {made.train.images.shape[-1]}{left}: {out}")
