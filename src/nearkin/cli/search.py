"""nearkin search: the nearest and the farthest images of a query."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearkin.cli import options
from nearkin.errors import one_line

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from nearkin.embeddings import Embeddings
    from nearkin.retrieval.retrieval import Queries, Retrieval
    from nearkin.runs.steps import Files
    from nearkin.search.exact import Search


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
    from nearkin.embeddings.table import check_table
    from nearkin.fileio import write_json
    from nearkin.retrieval.output import print_precision, print_retrieval
    from nearkin.retrieval.precision import retrieval_precision
    from nearkin.retrieval.retrieval import search as find
    from nearkin.search.engines import searcher

    options.need_images(html, images)
    options.check_outputs(embeddings, as_json, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    rows = rows_of(loaded.split, split)
    queries, files = _queries(loaded, rows, query or [], run, layer, device, seed)
    precision = None
    with searcher(index) as engine:
        found = find(loaded, queries, k=k, metric=metric, with_farthest=farthest, rows=rows, find=engine.find)
        print_retrieval(found, engine.how)
        if not query:
            precision = retrieval_precision(loaded.take(rows), k=k, metric=metric, seed=seed, find=engine.find)
            print_precision(precision)
        if out is not None:
            _table(out, loaded, rows, k, metric, engine.find)
    for line in engine.lines():
        typer.echo(line)
    if as_json is not None:
        measured = {"precision": None if precision is None else precision.to_dict(), "index": engine.to_dict()}
        write_json(as_json, {"split": split, "seed": seed} | found.to_dict() | measured)
        typer.echo(f"written: {as_json}")
    if html is not None and images is not None:
        _sheet(html, embeddings, images, loaded.image_size, found, files, engine.how)
        typer.echo(f"sheet: {html}")
    if out is not None:
        typer.echo(f"table: {out}")


def _queries(
    loaded: Embeddings,
    rows: NDArray[np.int64],
    texts: list[str],
    run: Path | None,
    layer: str | None,
    device: str,
    seed: int,
) -> tuple[Queries, Files | None]:
    """What the user asks with, in the order given: rows of the embeddings first, then files."""
    import numpy as np

    from nearkin.errors import ConfigError, DataError
    from nearkin.retrieval.retrieval import Queries, find_row, grid_rows, no_such_query, queries_of

    if not texts:
        return queries_of(loaded, grid_rows(loaded, seed=seed, rows=rows)), None
    named: list[int] = []
    paths: list[Path] = []
    for text in texts:
        row = find_row(loaded, text)
        if row is not None:
            named.append(row)
        elif Path(text).exists():
            paths.append(Path(text))
        else:
            raise no_such_query(loaded, text)
    asked = queries_of(loaded, np.array(named, dtype=np.int64))
    if not paths:
        return asked, None
    if run is None:
        raise ConfigError(
            f"{paths[0]} is no id or row; to embed its images give --run FOLDER, the run that made the embeddings."
        )
    from nearkin.runs.steps import embed_files

    files = embed_files(run, paths, layer=layer, device=device, like=loaded.provenance)
    for item in files.skipped:
        typer.echo(one_line(f"note: skipped {item.path}: {item.reason}"))
    if files.Z.shape[1] != loaded.Z.shape[1]:
        raise DataError(
            f"--run {run}, layer {files.layer}, gives {files.Z.shape[1]} dimensions; the embeddings have {loaded.Z.shape[1]}. "
            "Give the run that made them, or another --layer."
        )
    n = len(files.names)
    whole = Queries(
        np.concatenate([asked.Z, files.Z]),
        asked.ids + files.names,
        asked.labels + (None,) * n,
        np.concatenate([asked.rows, np.full(n, -1)]),
    )
    return whole, files


def _sheet(
    html: Path, embeddings: Path, images: str, size: int | None, found: Retrieval, files: Files | None, how: str
) -> None:
    import numpy as np

    from nearkin.data.images_by_id import images_of
    from nearkin.report.sheet import write_sheet
    from nearkin.retrieval.output import retrieval_sections

    ids = {hit.id for a in found.answers for hit in (*a.nearest, *a.farthest)}
    ids |= {a.id for a in found.answers if a.row is not None}
    looked_up = images_of(np.array(sorted(ids)), images, size=size)
    pictures = dict(zip(looked_up.ids.tolist(), looked_up.images, strict=True))
    own = {} if files is None else dict(zip(files.names, files.images, strict=True))
    write_sheet(html, f"Search in {embeddings.name}", retrieval_sections(found, pictures, own, how))


def _table(out: Path, loaded: Embeddings, rows: NDArray[np.int64], k: int, metric: str, find: Search) -> None:
    from nearkin.embeddings.table import add_columns, neighbors_column, on_rows
    from nearkin.retrieval.hubs import K
    from nearkin.retrieval.occurrence import occurrence

    base = loaded.Z[rows]
    found = find(base, base, max(k, min(K, len(rows) - 1)), metric=metric, exclude_self=True)
    counts = occurrence(found.first(K).indices, len(rows))
    columns = {
        "neighbors": neighbors_column(found.first(k), rows, len(loaded)),
        "hubness": on_rows(counts, rows, len(loaded)),
    }
    add_columns(out, loaded, columns)
