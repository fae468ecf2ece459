"""nearkin search: the nearest and the farthest images of a query."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options
from nearkin.errors import one_line


def search(
    embeddings: options.Vectors,
    query: Annotated[
        list[str] | None,
        typer.Argument(
            help="Ids, rows (row:17), image files or folders of images. Default: one seeded query per class."
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="The run folder that made the embeddings; needed to ask with files.")
    ] = None,
    layer: Annotated[
        str | None, typer.Option("--layer", help="The run's layer for files. Default: the layer of the embeddings.")
    ] = None,
    images: options.Images = None,
    split: options.Split = "all",
    k: Annotated[int, typer.Option("--k", help="How many nearest and farthest images.")] = 5,
    metric: options.Metric = "cosine",
    index: options.Index = "faiss",
    farthest: Annotated[bool, typer.Option("--farthest/--no-farthest", help="Also the farthest images.")] = True,
    seed: options.Seed = 0,
    device: options.Device = "auto",
    out: options.TableOut = None,
    as_json: options.JsonOut = None,
    html: options.HtmlOut = None,
) -> None:
    """Find the nearest and farthest images by exact search; without a query also measure precision, by class.

    --index lets another engine find the nearest, and says what share of them it finds; the farthest stay exact. -o adds the columns neighbors (k nearest of every image) and hubness (in how many lists of 10 nearest it stands).
    """
    from nearkin.embeddings import Embeddings, rows_of
    from nearkin.embeddings.table import add_columns, check_table
    from nearkin.fileio import to_json, write_json
    from nearkin.retrieval import nearest as retrieval
    from nearkin.retrieval.precision import print_precision, retrieval_precision
    from nearkin.search.engines import open_engine

    options.need_images(html, images)
    options.check_outputs(embeddings, as_json, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    rows = rows_of(loaded.split, split)
    if query:
        queries = retrieval.named_queries(loaded, query, run=run, layer=layer, device=device)
    else:
        queries = retrieval.as_queries(loaded, None, rows=rows, seed=seed)
    precision, written = None, []
    with open_engine(index) as engine:
        result = retrieval.nearest(
            loaded, queries, n_neighbors=k, metric=metric, with_farthest=farthest, rows=rows, search=engine.find
        )
        if not query:
            precision = retrieval_precision(loaded.take(rows), k=k, metric=metric, seed=seed, search=engine.find)
        if out is not None:
            columns = retrieval.neighbor_columns(loaded, rows, k=k, metric=metric, search=engine.find)
            add_columns(out, loaded, columns)
    if as_json is not None:
        scores = {"precision": to_json(precision), "index": to_json(engine)}
        write_json(as_json, {"split": split, "seed": seed} | to_json(result) | scores)
        written.append(f"written: {as_json}")
    if html is not None and images is not None:
        title = f"Search in {embeddings.name}"
        read = loaded.provenance.get("read")
        retrieval.retrieval_sheet(html, title, result, queries, images, loaded.image_size, engine.how, read)
        written.append(f"sheet: {html}")
    if out is not None:
        written.append(f"table: {out}")
    for skipped in queries.skipped:
        typer.echo(one_line(f"note: skipped {skipped}"))
    retrieval.print_retrieval(result, engine.how)
    if not query:
        print_precision(precision)
    for line in (*engine.lines(), *written):
        typer.echo(line)
