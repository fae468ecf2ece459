"""nearkin duplicates: near-duplicates within a set and across sets, checked on the pixels."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nearkin.cli import options

if TYPE_CHECKING:
    from nearkin.duplicates.audit import AuditSettings


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
    turned: Annotated[
        bool,
        typer.Option(
            "--turned/--no-turned",
            help="Also search for copies that are turned, upside down or inverted; needs --images.",
        ),
    ] = True,
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
    from nearkin.duplicates import audit
    from nearkin.embeddings import Embeddings
    from nearkin.embeddings.table import check_table
    from nearkin.fileio import to_json, write_json
    from nearkin.search.engines import open_engine

    options.need_images(html, images)
    options.check_outputs(embeddings, as_json, pairs, table=out, html=html)
    level = _threshold(threshold)
    settings = audit.AuditSettings(
        images, run, split, across, against, against_images, k, level, precision, metric, seed, device, turned
    )
    _check(settings, lookalikes, pairs, fail_over)
    loaded = Embeddings.load(embeddings)
    if out is not None:
        check_table(out, loaded)
    if across is not None and "val" not in re.split(r"[,+]", across) and (loaded.split == "val").any():
        typer.echo("note: images of split val, which were held out of train, are not looked at; train+val names both")
    with open_engine(index) as engine:
        result = audit.audit(loaded, settings, lookalikes=lookalikes, search=engine.find)
    files = []
    if pairs is not None:
        audit.write_pairs(pairs, result)
        files.append(f"pairs: {pairs}")
    if as_json is not None:
        write_json(as_json, result.to_dict() | {"index": to_json(engine)})
        files.append(f"written: {as_json}")
    if html is not None:
        audit.write_html(html, embeddings.name, result)
        files.append(f"sheet: {html}")
    if out is not None:
        audit.write_table(out, result)
        files.append(f"table: {out}")
    for line in (*audit.summary(result), *engine.lines()):
        typer.echo(line)
    if result.lookalikes is not None:
        typer.echo(f"alike in pixels: {result.explain_lookalikes()}")
    for line in files:
        typer.echo(line)
    share = result.searches[0].duplicates.share
    if fail_if_any and any(len(search.duplicates.pairs) for search in result.searches):
        typer.echo("failed: there are near-duplicates (--fail-if-any)", err=True)
        raise typer.Exit(1)
    if fail_over is not None and share > fail_over:
        typer.echo(
            f"failed: {100 * share:.2f} % of images have one, more than {100 * fail_over:g} % (--fail-over)", err=True
        )
        raise typer.Exit(1)


def _threshold(text: str) -> float | None:
    """None for "auto". Raises ConfigError for anything but that or a number."""
    from nearkin.errors import ConfigError

    if text == "auto":
        return None
    try:
        return float(text)
    except ValueError as error:
        raise ConfigError(f"--threshold {text}: expected auto or a number.") from error


def _check(settings: AuditSettings, lookalikes: int, pairs: Path | None, fail_over: float | None) -> None:
    """Refuse flags that do not go together before anything is read. Raises ConfigError."""
    from nearkin.errors import ConfigError

    if settings.across is not None and (settings.against is not None or settings.split != "all"):
        raise ConfigError("--across names the splits itself; it goes with neither --split nor --against.")
    if settings.against is None and settings.against_images is not None:
        raise ConfigError("--against-images belongs to --against FILE, the other embeddings.")
    if settings.against is not None and (settings.images is None) != (settings.against_images is None):
        raise ConfigError("give --images and --against-images, or neither of them.")
    if settings.images is None:
        for flag, given in (("--run", settings.run), ("--lookalikes", lookalikes or None)):
            if given is not None:
                raise ConfigError(f"{flag} needs --images: the data the embeddings were made of.")
        if settings.threshold is None:
            raise ConfigError(
                "without --images nothing can be calibrated: give --threshold, the largest distance of a pair "
                "(e.g. 0.05), or --images."
            )
    if settings.k < 1:
        raise ConfigError(f"--k is {settings.k}; at least one neighbour is needed.")
    if pairs is not None and pairs.suffix not in (".csv", ".parquet"):
        raise ConfigError(f"--pairs {pairs}: pairs are written as .csv or .parquet.")
    if fail_over is not None and not 0 <= fail_over <= 1:
        raise ConfigError(f"--fail-over is {fail_over:g}; it is a share between 0 and 1, e.g. 0.01.")
