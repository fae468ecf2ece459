"""nearkin map: two-dimensional maps of an embedding file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def map_(
    embeddings: options.Vectors,
    out: Annotated[
        Path, typer.Option("-o", "--out", help="Parquet to write (columns id, label, split, x, y), or a .png picture.")
    ],
    kind: Annotated[str, typer.Option("--kind", help="tsne or pca.")] = "tsne",
    split: options.Split = "all",
    max_images: Annotated[
        int,
        typer.Option(
            "--max-images", min=1, help="Fit t-SNE on at most this many, a seeded choice; place others on it."
        ),
    ] = 10_000,
    seed: options.Seed = 0,
    seeds: Annotated[
        int, typer.Option("--seeds", min=1, help="2 or more: also say how far t-SNE maps of that many seeds agree.")
    ] = 1,
) -> None:
    """Draw a map and say how far it can be trusted."""
    from nearkin.embeddings import Embeddings
    from nearkin.maps.draw import agreement_of_maps, draw

    options.check_outputs(embeddings, out)
    table = Embeddings.load(embeddings)
    text = draw(table, out, kind=kind, split=split, max_images=max_images, seed=seed)
    typer.echo(f"{text}\nmap: {out}")
    if seeds > 1:
        typer.echo(agreement_of_maps(table, split=split, seeds=range(seed, seed + seeds)))
