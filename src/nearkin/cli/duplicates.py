"""nearkin duplicates: near-duplicates within a set and across sets, checked on the pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def duplicates(
    embeddings: options.Vectors,
    images: options.Images = None,
    run: Annotated[
        Path | None,
        typer.Option(
            "--run", help="The run folder that made the embeddings: planted copies then calibrate distances, too."
        ),
    ] = None,
    split: options.Split = "all",
    across: Annotated[
        str | None,
        typer.Option(
            "--across", help="A,B: images of split B that are in split A, too, e.g. train,test or train+val,test."
        ),
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option("--against", help="Other embeddings of the same run: which of EMB's images are there?"),
    ] = None,
    against_images: Annotated[
        str | None, typer.Option("--against-images", help="The images that the other embeddings were made of.")
    ] = None,
    k: Annotated[int, typer.Option("--k", help="Nearest neighbours of each image that are looked at.")] = 5,
    threshold: Annotated[
        str, typer.Option("--threshold", help="auto, or a score from 0 to 1; without --images the largest distance.")
    ] = "auto",
    precision: Annotated[
        float, typer.Option("--precision", help="Share of true duplicates among those found that auto aims at.")
    ] = 0.95,
    metric: options.Metric = "cosine",
    index: options.Index = "faiss",
    lookalikes: Annotated[
        int, typer.Option("--lookalikes", help="Also list this many pairs alike in pixels that the embedding parts.")
    ] = 0,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    out: options.TableOut = None,
    pairs: Annotated[Path | None, typer.Option("--pairs", help="File for the pairs: .csv or .parquet.")] = None,
    as_json: options.JsonOut = None,
    html: options.HtmlOut = None,
    fail_over: Annotated[
        float | None, typer.Option("--fail-over", help="Exit with 1 when a larger share of images has a duplicate.")
    ] = None,
    fail_if_any: Annotated[
        bool, typer.Option("--fail-if-any", help="Exit with 1 when there is any duplicate.")
    ] = False,
) -> None:
    """Find near-duplicates: which images are there twice, and how much of the test set is in train.

    With --images every pair is checked on the pixels and gets a calibrated score. Without, only distances speak: the
    pairs are unverified, and --threshold must be given. --index lets another engine find the candidates. -o adds the column near_duplicate_set.
    """
    from nearkin.duplicates import output
    from nearkin.duplicates.search import Request, find, parse_threshold, reverse
    from nearkin.embeddings import Embeddings
    from nearkin.embeddings.table import check_table
    from nearkin.fileio import write_json
    from nearkin.search.engines import searcher

    options.need_images(html, images)
    options.check_outputs(embeddings, as_json, pairs, table=out, html=html)
    request = Request(
        images,
        run,
        split,
        across,
        against,
        against_images,
        k,
        parse_threshold(threshold),
        precision,
        metric,
        seed,
        device,
    )
    request.check(lookalikes, pairs, fail_over)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    if across is not None and "val" not in re.split(r"[,+]", across) and (loaded.split == "val").any():
        typer.echo("note: images of split val, which were held out of train, are not looked at; train+val names both")
    with searcher(index) as engine:
        found = find(loaded, request, engine.find)
    output.print_found(found)
    for line in engine.lines():
        typer.echo(line)
    parted = reverse(found, lookalikes, metric, seed) if lookalikes else None
    if parted is not None:
        output.print_reverse(parted, found.embeddings)
    if pairs is not None:
        output.write_pairs(pairs, found)
        typer.echo(f"pairs: {pairs}")
    if as_json is not None:
        write_json(as_json, output.as_dict(found, parted, request) | {"index": engine.to_dict()})
        typer.echo(f"written: {as_json}")
    if html is not None:
        output.write_sheet(html, embeddings.name, found, parted)
        typer.echo(f"sheet: {html}")
    if out is not None:
        output.write_table(out, found)
        typer.echo(f"table: {out}")
    share = found.searches[0].found.share
    if fail_if_any and any(len(search.found.pairs) for search in found.searches):
        typer.echo("failed: there are near-duplicates (--fail-if-any)", err=True)
        raise typer.Exit(1)
    if fail_over is not None and share > fail_over:
        typer.echo(
            f"failed: {100 * share:.2f} % of images have one, more than {100 * fail_over:g} % (--fail-over)", err=True
        )
        raise typer.Exit(1)
