"""nearkin embed: images -> vectors, with a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def embed(
    run: Annotated[Path, typer.Argument(help="A run folder, written by 'nearkin fit' or found in a study's runs/.")],
    data: options.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file to write.")],
    layer: Annotated[str | None, typer.Option("--layer", help="Default: the layer meant for downstream use.")] = None,
    labels: options.Labels = None,
    subset: options.Subset = None,
    strict: options.Strict = False,
    device: options.Device = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Embed every image of a set: Parquet with the columns id, label, split, embedding."""
    from nearkin.pipeline import embed_run

    made = embed_run(
        run,
        data,
        out,
        layer=layer,
        labels=labels,
        subset=subset,
        strict=strict,
        device=device,
        progress=not quiet,
        say=typer.echo,
    )
    typer.echo(f"{len(made):,} vectors of {made.Z.shape[1]} dimensions (layer {made.provenance['layer']}): {out}")
