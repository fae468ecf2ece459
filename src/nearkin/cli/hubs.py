"""nearkin hubs: images that are everybody's neighbours or nobody's, and what can be done about them."""

from __future__ import annotations

from typing import Annotated

import typer

from nearkin.cli import options


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
    from nearkin.data.sources import images_of
    from nearkin.embeddings import Embeddings, rows_of
    from nearkin.embeddings.table import add_columns, check_table, on_rows
    from nearkin.fileio import to_json, write_json
    from nearkin.retrieval import hubs as retrieval

    options.need_images(html, images)
    options.check_outputs(embeddings, as_json, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    rows = rows_of(loaded.split, split)
    part = loaded.take(rows)
    pictures = (
        None
        if images is None
        else images_of(part.ids, images, size=part.image_size, read=part.provenance.get("read")).images
    )
    hubness = retrieval.hubs(
        part, n_neighbors=k, metric=metric, candidates=candidates, pixels=pictures, random_state=seed
    )
    written = []
    if as_json is not None:
        write_json(as_json, {"split": split, "seed": seed} | to_json(hubness))
        written.append(f"written: {as_json}")
    if html is not None and pictures is not None:
        retrieval.hubness_sheet(html, f"Hubs of {embeddings.name}", hubness, pictures)
        written.append(f"sheet: {html}")
    if out is not None:
        counts = {"hubness": hubness.k_occurrence, "farthest_occurrence": hubness.farthest_occurrence}
        add_columns(out, loaded, {name: on_rows(values, rows, len(loaded)) for name, values in counts.items()})
        written.append(f"table: {out}")
    retrieval.print_hubness(hubness)
    for line in written:
        typer.echo(line)
