"""nearkin anomalies: which images are unlike the rest, and is a good score for that earned?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def anomalies(
    embeddings: options.Vectors,
    ood: Annotated[
        list[str] | None,
        typer.Option(
            "--ood",
            help="Foreign images: an embedding file, or (with --run) a data set's name or path; may be repeated.",
        ),
    ] = None,
    run: Annotated[
        Path | None, typer.Option("--run", help="Run folder that made the vectors; embeds the images of --ood.")
    ] = None,
    layer: Annotated[str | None, typer.Option("--layer", help="Layer of --run. Default: the vectors' own.")] = None,
    ood_split: Annotated[
        str, typer.Option("--ood-split", help="Images of --ood: test (where there is a test split), train or all.")
    ] = "test",
    train_split: Annotated[
        str, typer.Option("--train-split", help="Rows that count as normal: train, val, test or all.")
    ] = "train",
    score: Annotated[
        str,
        typer.Option(
            "--score",
            help="knn2, knn-norm, mahalanobis, iforest, lof, several by comma, or all (that there are enough images for).",
        ),
    ] = "knn2",
    k: Annotated[int | None, typer.Option("--k", help="Neighbours, instead of each score's own number.")] = None,
    one_class: Annotated[
        bool, typer.Option("--one-class", help="Also each class as the only normal one, and each class held out.")
    ] = False,
    index: options.Index = "faiss",
    images: options.Images = None,
    variants: Annotated[
        bool, typer.Option("--variants", help="Also padded, inverted and recoloured versions of gray digits in --ood.")
    ] = False,
    seed: options.Seed = 0,
    out: options.TableOut = None,
    as_json: options.JsonOut = None,
    html: options.HtmlOut = None,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Rank images by how unlike the training images they are; with --ood, say how well that finds foreign ones.

    Scores: higher = more anomalous. A training image is scored without itself. With --images and --ood DATA --run RUN, scores
    that need no learning (brightness, saturation, border, PNG size, raw pixels) stand in the same table. --index lets
    another engine find the neighbours of knn2, knn-norm and lof. -o adds the column anomaly_score.
    """
    from nearkin.anomalies.command import Foreign, find_anomalies
    from nearkin.anomalies.output import print_classes, print_report, write_anomaly_sheet
    from nearkin.data.sources import images_of
    from nearkin.embeddings import Embeddings
    from nearkin.embeddings.table import add_columns, check_table
    from nearkin.fileio import to_json, write_json
    from nearkin.search.engines import open_engine

    foreign = list(dict.fromkeys(ood or ()))
    _check(foreign, run, images, variants, html)
    names = _scores(score)
    options.check_outputs(embeddings, as_json, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    pictures = (
        images_of(loaded.ids, images, size=loaded.image_size, read=loaded.provenance.get("read"), progress=not quiet)
        if images
        else None
    )
    with open_engine(index) as engine:
        report = find_anomalies(
            loaded,
            scores=names,
            k=k,
            train_split=train_split,
            rank=not foreign or out is not None or html is not None,
            foreign=Foreign(foreign, ood_split, run, layer, variants, device, not quiet) if foreign else None,
            images=pictures,
            one_class=one_class,
            seed=seed,
            find=engine.find,
        )
    if out is not None:
        first, *others = report.scores
        columns = {"anomaly_score": report.values[first]}
        add_columns(out, loaded, columns | {f"anomaly_score_{name}": report.values[name] for name in others})
    print_report(report)
    for line in engine.lines():
        typer.echo(line)
    if report.classes is not None:
        print_classes(report.classes)
    if html is not None and pictures is not None:
        write_anomaly_sheet(html, report, pictures)
        typer.echo(f"sheet: {html}")
    if as_json is not None:
        write_json(as_json, {"embeddings": str(embeddings)} | to_json(report) | {"index": to_json(engine)})
        typer.echo(f"written: {as_json}")
    if out is not None:
        typer.echo(f"table: {out} (anomaly_score: {report.scores[0]})")


def _check(foreign: list[str], run: Path | None, images: str | None, variants: bool, html: Path | None) -> None:
    """Options that need each other."""
    from nearkin.errors import ConfigError

    options.need_images(html, images)
    if run is not None and not foreign:
        raise ConfigError("--run embeds the images of --ood; give --ood DATA too.")
    for ood in foreign:
        if run is None and Path(ood).suffix not in (".parquet", ".npy", ".npz"):
            raise ConfigError(
                f"--ood {ood}: images have to be embedded first; add --run RUN (the run that made the vectors), or give a file of vectors."
            )
    if variants and (run is None or images is None):
        raise ConfigError("--variants makes new images: it needs --ood DATA, --run RUN and --images DATA.")


def _scores(score: str) -> list[str] | None:
    """The names in --score; None for all of them."""
    from nearkin.anomalies.detectors import SCORES
    from nearkin.errors import unknown

    if score == "all":
        return None
    names = list(dict.fromkeys(part.strip() for part in score.split(",")))
    for name in names:
        if name not in SCORES:
            raise unknown("score", name, (*SCORES, "all"))
    return names
