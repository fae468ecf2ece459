"""nearkin cluster: groups of images, what is in them, and whether they are there at all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearkin.cli import options

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from nearkin.clusters.clusters import Clustering
    from nearkin.data import ImageSet
    from nearkin.embeddings import Embeddings
    from nearkin.maps.maps import Map


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
    from nearkin.clusters.clusters import find_clusters
    from nearkin.clusters.output import print_clustering
    from nearkin.embeddings import Embeddings, rows_of
    from nearkin.embeddings.table import check_table
    from nearkin.fileio import write_json

    options.need_images(html, images)
    _check(map_, png, examples)
    options.check_outputs(embeddings, as_json, png, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    rows = rows_of(loaded.split, split)
    part = loaded.take(rows)
    pictures = _pictures(part, images) if html is not None else None
    found = find_clusters(
        part,
        algorithm=algorithm,
        k=int(k) if k.lstrip("-").isdigit() else k,
        metric=metric,
        min_size=min_size,
        seed=seed,
        examples=examples,
    )
    print_clustering(found)
    drawn = None if map_ is None else _draw(part, map_, metric, seed)
    numbers = {"split": split, "seed": seed} | found.to_dict()
    if drawn is not None and map_ is not None:
        numbers["map"] = _on_map(found, drawn, map_, png)
    if as_json is not None:
        write_json(as_json, numbers)
        typer.echo(f"written: {as_json}")
    if html is not None and pictures is not None:
        _sheet(html, embeddings, found, pictures)
        typer.echo(f"sheet: {html}")
    if out is not None:
        from nearkin.embeddings.table import add_columns, on_rows

        columns: dict[str, NDArray[Any]] = {"cluster": found.assigned}
        if drawn is not None:
            columns |= {"x": drawn.coords[:, 0], "y": drawn.coords[:, 1]}
        add_columns(out, loaded, {name: on_rows(values, rows, len(loaded)) for name, values in columns.items()})
        typer.echo(f"table: {out}")


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


def _pictures(part: Embeddings, images: str | None) -> ImageSet:
    from nearkin.data.images_by_id import images_of

    return images_of(part.ids, str(images), size=part.image_size)


def _draw(part: Embeddings, kind: str, metric: str, seed: int) -> Map:
    """The map of the vectors as they were clustered."""
    from nearkin.clusters.kmeans import checked
    from nearkin.errors import DataError
    from nearkin.maps.maps import draw_maps

    item = draw_maps(checked(part.Z, metric), part.labels, seed=seed, kinds=(kind,))[kind]
    if item.skipped:
        raise DataError(f"no map: {item.skipped}. Leave --map out.")
    return item


def _on_map(found: Clustering, drawn: Map, kind: str, png: Path | None) -> dict[str, object]:
    """The centres on the map, as numbers and as a picture."""
    from nearkin.clusters.cluster_summary import centres

    middle = centres(drawn.coords, found.assigned)
    trust = "-" if drawn.trustworthiness is None else f"{drawn.trustworthiness:.3f}"
    typer.echo(f"map {kind}: trustworthiness {trust}")
    if png is not None:
        from nearkin.maps.picture import save_clusters

        save_clusters(drawn.coords, found.assigned, middle, png, title=f"{found.algorithm} clusters, {kind}")
        typer.echo(f"map: {png}")
    return {"kind": kind, "centres": middle.tolist()} | drawn.to_dict()


def _sheet(html: Path, embeddings: Path, found: Clustering, pictures: ImageSet) -> None:
    from nearkin.clusters.output import cluster_sections, headline
    from nearkin.report.sheet import write_sheet

    write_sheet(
        html, f"Clusters of {embeddings.name}", cluster_sections(found, pictures), text=" ".join(headline(found))
    )
