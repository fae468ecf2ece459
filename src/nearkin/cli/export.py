"""nearkin export: a run's encoder as a file for other programs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def export(
    run: Annotated[Path, typer.Argument(help="A run folder, written by 'nearkin fit' or found in a study's runs/.")],
    out: Annotated[
        Path, typer.Option("-o", "--out", help="File to write: .onnx, or .pt2 (torch.export); with --timm a folder.")
    ],
    layer: Annotated[str | None, typer.Option("--layer", help="Default: the layer meant for downstream use.")] = None,
    timm: Annotated[
        bool, typer.Option("--timm", help="Write weights and config that timm.create_model loads, of layer 'backbone'.")
    ] = False,
) -> None:
    """Export an encoder; the file takes uint8 pixels and does the normalisation itself."""
    from nearkin.fileio import claim_files

    if timm:
        from nearkin.errors import ConfigError
        from nearkin.export.timm_folder import LAYER, export_timm

        if layer not in (None, LAYER):
            raise ConfigError(f"--layer {layer}: timm's nets end at layer '{LAYER}'. Export others as .onnx or .pt2.")
        worst = export_timm(run, out)
        typer.echo(
            f"{out}: timm.create_model('local-dir:{out}', pretrained=True) -> {LAYER} vectors; "
            f"compared with the run, largest difference {worst:.0e}"
        )
        return
    from nearkin.export.onnx import export_run

    claim_files(out)
    worst = export_run(run, out, layer=layer)
    typer.echo(f"{out}: uint8 images (B, 3, S, S) -> vectors; compared with the run, largest difference {worst:.0e}")
