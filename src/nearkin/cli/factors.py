"""nearkin factors: are neighbours alike in class, or in background, colour and position?"""

from __future__ import annotations

from typing import Annotated

import typer

from nearkin.cli import options


def factors(
    embeddings: options.Vectors,
    images: Annotated[
        str, typer.Option("--images", help="The images that the embeddings were made of: a name or a path.")
    ],
    k: Annotated[int, typer.Option("--k", help="Neighbours per image.")] = 10,
    metric: options.Metric = "cosine",
    split: Annotated[str, typer.Option("--split", help="Whose neighbours: test, train, val or all.")] = "test",
    max_images: Annotated[
        int, typer.Option("--max-images", min=1, help="At most this many, a seeded choice.")
    ] = 10_000,
    raw_pixels: Annotated[
        bool, typer.Option("--raw-pixels/--no-raw-pixels", help="Compare with neighbours by raw pixels.")
    ] = True,
    pixel_metric: Annotated[
        str, typer.Option("--pixel-metric", help="l2, or cosine, which divides brightness out.")
    ] = "l2",
    probe: Annotated[
        bool, typer.Option("--probe/--no-probe", help="Also read each factor (fitted on train, read on test).")
    ] = True,
    seed: options.Seed = 0,
    as_json: options.JsonOut = None,
    html: options.HtmlOut = None,
) -> None:
    """Say what neighbours have in common, beside raw pixels, and how well each factor can be read from the embedding.

    Factors are measured from pixels (colour, border, edges, contrast, ...); the built-in set adds those it was drawn with.
    """
    import numpy as np

    from nearkin.data.sources import images_of
    from nearkin.embeddings import Embeddings
    from nearkin.factors import factor_study
    from nearkin.fileio import to_json, write_json

    options.check_outputs(embeddings, as_json, html=html)
    loaded = Embeddings.load(embeddings)
    note = None
    if not {"train", "val", "test"} <= set(loaded.split.tolist()):
        loaded, note = loaded.with_splits(seed)
    # Only these images are read; the study makes the same choice among them.
    rows = factor_study.compared_rows(loaded.split, split, max_images=max_images, seed=seed)
    if probe:
        rows = np.union1d(rows, factor_study.probed_rows(loaded.split, seed=seed))
    part = loaded.take(rows)
    pictures = images_of(part.ids, images, size=part.image_size, read=part.provenance.get("read"))
    study = factor_study.study_factors(
        part,
        pictures.images,
        pictures.factors,
        split=split,
        k=k,
        metric=metric,
        max_images=max_images,
        raw_pixels=raw_pixels,
        pixel_metric=pixel_metric,
        probe=probe,
        seed=seed,
    )
    written = []
    if as_json is not None:
        write_json(as_json, {"seed": seed} | to_json(study))
        written.append(f"written: {as_json}")
    if html is not None:
        title = f"What neighbours share in {embeddings.name}"
        factor_study.factor_sheet(html, title, study, pictures.take(study.rows))
        written.append(f"sheet: {html}")
    if note:
        typer.echo(f"note: {note}")
    factor_study.print_factors(study)
    for line in written:
        typer.echo(line)
