"""nearkin anomalies: which images are unlike the rest, and is a good score for that earned?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nearkin.cli import options

if TYPE_CHECKING:
    from nearkin.anomalies import OodSet
    from nearkin.data import ImageSet
    from nearkin.embeddings import Embeddings


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
        str, typer.Option("--score", help="knn2, knn-norm, mahalanobis, iforest, lof, several by comma, or all.")
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
    from nearkin.anomalies import class_tables, foreign_sets, inside_rows, train_rows
    from nearkin.anomalies.image_scores import rank
    from nearkin.anomalies.output import extremes, print_extremes, print_per_class, write_anomaly_sheet
    from nearkin.data.sources import images_of
    from nearkin.embeddings import Embeddings
    from nearkin.embeddings.table import add_columns, check_table
    from nearkin.errors import DataError
    from nearkin.fileio import write_json
    from nearkin.search.engines import searcher

    foreign = list(dict.fromkeys(ood or ()))
    _check(foreign, run, images, variants, html)
    names = _scores(score)
    options.check_outputs(embeddings, as_json, table=out, html=html)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    settings: dict[str, Any] = {"train_split": train_split, "scores": names, "k": k, "seed": seed}
    result: dict[str, Any] = {"embeddings": str(embeddings)} | settings
    pictures = images_of(loaded.ids, images, size=loaded.image_size, progress=not quiet) if images else None
    sets: list[OodSet] = []
    with searcher(index) as engine:
        common = settings | {"find": engine.find}
        if not foreign or out is not None or html is not None:
            ranked = rank(loaded, **common)
            result["ranked"] = {name: extremes(values, loaded) for name, values in ranked.items()}
            if out is not None:
                columns = {"anomaly_score": ranked[names[0]]} | {
                    f"anomaly_score_{name}": ranked[name] for name in names[1:]
                }
                add_columns(out, loaded, columns)
            if not foreign:
                print_extremes(result["ranked"])
        if foreign:
            result["inside"] = inside_rows(loaded, train_split)[1]
            typer.echo(result["inside"])
            if run is None:
                result |= _vectors(loaded, foreign, common)
            else:
                from nearkin.runs.run import Run

                size = Run(run).image_size()
                back = unseen = None
                if variants and pictures is not None:
                    known = train_rows(loaded, train_split)
                    rest = ~known & ~inside_rows(loaded, train_split)[0]
                    back, unseen = pictures.images[known], pictures.images[rest] if rest.any() else None
                sets = foreign_sets(
                    foreign, size, split=ood_split, backgrounds=back, unseen=unseen, seed=seed, progress=not quiet
                )
                if variants and all(item.name == item.of for item in sets):
                    raise DataError(f"--variants are made of gray images; those of {', '.join(foreign)} have colours.")
                result |= _images(loaded, pictures, sets, run, layer, device, common)
    result["index"] = engine.to_dict()
    for line in engine.lines():
        typer.echo(line)
    if one_class:
        tables = class_tables(loaded, train_split=train_split, scores=names)
        result["classes"] = tables
        print_per_class(tables)
    if html is not None and pictures is not None:
        write_anomaly_sheet(html, result, pictures, {item.name: item.items for item in sets})
        typer.echo(f"sheet: {html}")
    if as_json is not None:
        write_json(as_json, result)
        typer.echo(f"written: {as_json}")
    if out is not None:
        typer.echo(f"table: {out} (anomaly_score: {names[0]})")


def _check(foreign: list[str], run: Path | None, images: str | None, variants: bool, html: Path | None) -> None:
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


def _scores(score: str) -> list[str]:
    from nearkin.anomalies.scores import SCORES
    from nearkin.errors import unknown

    names = list(SCORES) if score == "all" else list(dict.fromkeys(part.strip() for part in score.split(",")))
    for name in names:
        if name not in SCORES:
            raise unknown("score", name, (*SCORES, "all"))
    return names


def _vectors(loaded: Embeddings, foreign: list[str], common: dict[str, Any]) -> dict[str, Any]:
    """Numbers against foreign vectors."""
    from nearkin.anomalies.ood_eval import against
    from nearkin.anomalies.output import print_against
    from nearkin.embeddings import Embeddings

    sets = {}
    for path in map(Path, foreign):
        other = Embeddings.load(path)
        sets[path.stem if path.stem not in sets else str(path)] = (other.Z, other.ids)
    found = against(loaded, sets, **common)
    print_against(found)
    return {"ood": found}


def _images(
    loaded: Embeddings,
    pictures: ImageSet | None,
    sets: list[OodSet],
    run: Path,
    layer: str | None,
    device: str,
    common: dict[str, Any],
) -> dict[str, Any]:
    """Numbers against foreign images: the whole table where there are images of both kinds, else the scores alone."""
    from nearkin.anomalies import has_unseen, table_of
    from nearkin.anomalies.ood_eval import against
    from nearkin.anomalies.output import print_against, print_table
    from nearkin.runs.run import Run

    embed = Run(run).open(layer or loaded.provenance.get("layer"), device=device)
    vectors = {item.name: embed(item.items.images) for item in sets}
    if pictures is not None and has_unseen(loaded, common["train_split"]):
        table = table_of(loaded, pictures, vectors, sets, name=run.name, **common)
        print_table(table)
        return {"ood": table["details"][run.name]["ood"], "table": table}
    found = against(loaded, {item.name: (vectors[item.name], item.items.ids) for item in sets}, **common)
    print_against(found)
    return {"ood": found}
