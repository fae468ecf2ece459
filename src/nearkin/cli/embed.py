"""nearkin embed: images -> vectors, with a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from nearkin.cli import options


def embed(
    run: Annotated[
        Path,
        typer.Argument(
            help="A run folder, written by 'nearkin fit' or found in a study's runs/; or an encoder that others trained: "
            "efficientnet-lite0, timm:NAME, hf-hub:OWNER/NAME, torchvision:NAME, onnx:FILE."
        ),
    ],
    data: options.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file to write; or a folder, for sets of any size.")],
    layer: Annotated[str | None, typer.Option("--layer", help="Default: the layer meant for downstream use.")] = None,
    labels: options.Labels = None,
    image_column: options.ImageColumn = None,
    label_column: options.LabelColumn = None,
    value_range: options.ValueRange = None,
    subset: options.Subset = None,
    strict: options.Strict = False,
    device: options.Device = "auto",
    engine: Annotated[str, typer.Option("--engine", help="local, or ray: on the cores of a Ray cluster.")] = "local",
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the encoder first: pays for several 100,000 images.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Embed every image of a set: Parquet with the columns id, label, split, embedding.

    Into a folder, it goes part by part (a file for each shard), and parts that are there are made again
    only where their images or labels have changed.
    """
    from nearkin.errors import ConfigError
    from nearkin.fileio import claim_files

    if out.suffix.lower() in (".npy", ".npz", ".csv", ".json", ".txt", ".html"):
        raise ConfigError(f"-o {out}: vectors are written as .parquet, or into a folder.")
    from nearkin.data.shards import is_shards
    from nearkin.runs.bulk import embed_bulk
    from nearkin.runs.embed import embed_run, encoder_note

    asked: dict[str, Any] = {"layer": layer, "labels": labels, "subset": subset, "strict": strict, "device": device}
    asked["read"] = options.read_options(image_column, label_column, value_range)
    asked |= {"progress": not quiet, "compiled": compiled}
    if out.suffix != ".parquet":
        parts = embed_bulk(run, data, out, engine=engine, **asked)
        if parts.skipped:
            typer.echo(f"note: {parts.skipped:,} unreadable images left out, first {parts.first_skipped}")
        if parts.encoder:
            typer.echo(f"note: {parts.encoder}")
        before = f"; {parts.kept:,} parts were there" if parts.kept else ""
        before += f"; {parts.changed:,} replace parts of other images or labels" if parts.changed else ""
        before += f"; {parts.gone:,} parts deleted, whose images are gone" if parts.gone else ""
        typer.echo(f"{parts.rows:,} vectors in {parts.parts:,} new parts{before}: {out}")
        return
    if engine != "local" or is_shards(data):
        what = f"--engine {engine}" if engine != "local" else data
        raise ConfigError(f"-o {out}: {what} is embedded into a folder; give one without the suffix .parquet.")
    claim_files(out)
    made = embed_run(run, data, out, say=typer.echo, **asked)
    if note := encoder_note(made.provenance):
        typer.echo(f"note: {note}")
    typer.echo(f"{len(made):,} vectors of {made.Z.shape[1]} dimensions (layer {made.provenance['layer']}): {out}")
