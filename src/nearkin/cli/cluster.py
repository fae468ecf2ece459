"""nearkin cluster: groups of images, what is in them, and whether they are there at all."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def cluster(
    embeddings: options.Vectors,
    k: Annotated[str, typer.Option("--k", help="k-means: number of clusters, or auto (by silhouette).")] = "10",
    algorithm: Annotated[str, typer.Option("--algorithm", help="kmeans or hdbscan.")] = "kmeans",
    min_size: Annotated[
        int | None,
        typer.Option("--min-size", help="HDBSCAN: smallest cluster. Default: 0.5 % of the images, at least 5."),
    ] = None,
    metric: options.Metric = "l2",
    split: options.Split = "all",
    images: options.Images = None,
    map_: Annotated[str | None, typer.Option("--map", help="Also draw a map: pca or tsne.")] = None,
    png: Annotated[
        Path | None, typer.Option("--png", help="Picture of the map with numbered centres; needs --map.")
    ] = None,
    examples: Annotated[int, typer.Option("--examples", help="Central and borderline images per cluster.")] = 10,
    seed: options.Seed = 0,
    out: options.TableOut = None,
    as_json: options.JsonOut = None,
    html: options.HtmlOut = None,
) -> None:
    """Cluster an embedding, describe every cluster and judge the whole, against classes too where there are labels.

    -o adds the column cluster (-1: noise of HDBSCAN) and, with --map, x and y.
    """
    from nearkin.clusters import clusters
    from nearkin.data.sources import images_of
    from nearkin.embeddings import Embeddings, rows_of
    from nearkin.embeddings.table import add_columns, check_table, on_rows
    from nearkin.fileio import to_json, write_json

    options.need_images(html, images)
    _check(map_, png, examples)
    options.check_outputs(embeddings, as_json, png, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    rows = rows_of(loaded.split, split)
    part = loaded.take(rows)
    pictures = (
        None
        if html is None or images is None
        else images_of(part.ids, images, size=part.image_size, read=part.provenance.get("read"))
    )
    clustering = clusters.cluster(
        part,
        int(k) if k.lstrip("-").isdigit() else k,
        algorithm=algorithm,
        metric=metric,
        min_cluster_size=min_size,
        random_state=seed,
        examples=examples,
    )
    drawn = None if map_ is None else clusters.cluster_map(part, clustering, map_, seed=seed)
    written = []
    if drawn is not None:
        trust = drawn.map.trustworthiness
        written.append(f"map {map_}: trustworthiness {'-' if trust is None else f'{trust:.3f}'}")
    if drawn is not None and png is not None:
        drawn.save_png(png, clustering)
        written.append(f"map: {png}")
    if as_json is not None:
        numbers = {"split": split, "seed": seed} | to_json(clustering)
        write_json(as_json, numbers if drawn is None else numbers | {"map": to_json(drawn)})
        written.append(f"written: {as_json}")
    if html is not None and pictures is not None:
        clusters.cluster_sheet(html, f"Clusters of {embeddings.name}", clustering, pictures)
        written.append(f"sheet: {html}")
    if out is not None:
        columns = {"cluster": on_rows(clustering.assigned, rows, len(loaded))}
        if drawn is not None:
            columns |= {axis: on_rows(drawn.map.coords[:, i], rows, len(loaded)) for i, axis in enumerate("xy")}
        add_columns(out, loaded, columns)
        written.append(f"table: {out}")
    clusters.print_clustering(clustering)
    for line in written:
        typer.echo(line)


def _check(map_: str | None, png: Path | None, examples: int) -> None:
    """Refuse flags that do not fit before anything is computed."""
    from nearkin.errors import ConfigError, unknown

    if map_ not in (None, "pca", "tsne"):
        raise unknown("map", str(map_), ("pca", "tsne"))
    if png is not None and map_ is None:
        raise ConfigError("--png draws a map and needs --map pca or --map tsne.")
    if png is not None and png.suffix.lower() != ".png":
        raise ConfigError(f"--png {png}: the picture is written as .png.")
    if examples < 1:
        raise ConfigError(f"--examples is {examples}; it must be at least 1.")
