"""nearkin hubs: images that are everybody's neighbours or nobody's, and what can be done about them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearkin.cli import options

if TYPE_CHECKING:
    from nearkin.data import ImageSet
    from nearkin.retrieval.hubs import Hubness


def hubs(
    embeddings: options.Vectors,
    images: options.Images = None,
    split: options.Split = "all",
    k: Annotated[int, typer.Option("--k", help="Length of the lists of neighbours.")] = 10,
    candidates: Annotated[int, typer.Option("--candidates", help="Neighbours per image that remedies re-order.")] = 200,
    metric: options.Metric = "cosine",
    seed: options.Seed = 0,
    out: options.TableOut = None,
    as_json: options.JsonOut = None,
    html: options.HtmlOut = None,
) -> None:
    """Measure hubness before and after each remedy, and whether all queries have the same farthest images.

    With --images, also against the distance from the mean image. -o adds the columns hubness and farthest_occurrence.
    """
    from nearkin.data.images_by_id import images_of
    from nearkin.embeddings import Embeddings, rows_of
    from nearkin.embeddings.table import add_columns, check_table, on_rows
    from nearkin.fileio import write_json
    from nearkin.retrieval.hubs import hubness
    from nearkin.retrieval.output import print_hubness

    options.need_images(html, images)
    options.check_outputs(embeddings, as_json, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    rows = rows_of(loaded.split, split)
    part = loaded.take(rows)
    pictures = None if images is None else images_of(part.ids, images, size=part.image_size)
    pixels = None if pictures is None else pictures.images
    found = hubness(part, k=k, metric=metric, candidates=candidates, pixels=pixels, seed=seed)
    print_hubness(found)
    if as_json is not None:
        write_json(as_json, {"split": split, "seed": seed} | found.to_dict())
        typer.echo(f"written: {as_json}")
    if html is not None and pictures is not None:
        _sheet(html, embeddings, found, pictures)
        typer.echo(f"sheet: {html}")
    if out is not None:
        columns = {
            "hubness": on_rows(found.k_occurrence, rows, len(loaded)),
            "farthest_occurrence": on_rows(found.farthest_occurrence, rows, len(loaded)),
        }
        add_columns(out, loaded, columns)
        typer.echo(f"table: {out}")


def _sheet(html: Path, embeddings: Path, found: Hubness, pictures: ImageSet) -> None:
    from nearkin.report.sheet import write_sheet
    from nearkin.retrieval.output import hubness_sections

    write_sheet(html, f"Hubs of {embeddings.name}", hubness_sections(found, pictures.images))
