"""nearkin explore: embeddings on a local page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def explore(
    embeddings: Annotated[
        list[Path],
        typer.Argument(metavar="RUN|EMB...", help="Studies, run folders, or embeddings (.parquet, .npy, .npz)."),
    ],
    images: options.Images = None,
    table: Annotated[
        list[Path] | None,
        typer.Option("--table", help="Parquet table with columns to colour by, as the uses write it. May be repeated."),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="The run folder that made the embeddings, to search with image files.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option("--split", help="all, train, val or test. Default: test for a study's runs, else all."),
    ] = None,
    max_images: Annotated[
        int, typer.Option("--max-images", help="At most this many, a seeded choice; 60000 at most.")
    ] = 60_000,
    port: Annotated[
        int | None, typer.Option("--port", help="Port on 127.0.0.1; 0: any. Default: the first free one from 8808 on.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option("--export", help="Write one HTML file that needs no server, and stop.")
    ] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")] = True,
    seed: options.Seed = 0,
    device: options.Device = "auto",
) -> None:
    """Look at embeddings: a map, thumbnails, nearest and farthest images side by side, filters and marks.

    Serves a page to this machine only, until Ctrl-C.
    """
    from nearkin.errors import ConfigError
    from nearkin.explore.collection import collect
    from nearkin.explore.page import check_export
    from nearkin.explore.page import export as write
    from nearkin.explore.serve import need_server, serve
    from nearkin.fileio import claim_files

    if max_images < 1:
        raise ConfigError(f"--max-images is {max_images}; it must be at least 1.")
    if export is None:
        need_server()
    else:
        check_export(export, 0)
        claim_files(export)
    collection = collect(
        embeddings, images=images, tables=table or [], run=run, split=split, most=max_images, seed=seed, say=typer.echo
    )
    count = "1 embedding" if len(collection.spaces) == 1 else f"{len(collection.spaces)} embeddings"
    typer.echo(f"{len(collection):,} images, {count}")
    if export is not None:
        write(collection, export)
        typer.echo(f"page: {export}")
        return
    serve(collection, port=port, browser=browser, device=device, say=typer.echo)
