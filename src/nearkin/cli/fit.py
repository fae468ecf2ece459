"""nearkin fit: train one method."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from nearkin.cli import options


def fit(
    data: options.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Run folder for weights and metrics.")],
    method: Annotated[
        str,
        typer.Option(
            "--method", help="vicreg, vicreg-novar, pca, random-init, ...", autocompletion=options.complete_method
        ),
    ] = "vicreg",
    preset: options.Preset = "cpu",
    seed: options.Seed = 0,
    subset: options.Subset = None,
    epochs: options.Epochs = None,
    set_: options.Set = None,
    labels: options.Labels = None,
    image_column: options.ImageColumn = None,
    label_column: options.LabelColumn = None,
    value_range: options.ValueRange = None,
    size: options.Size = None,
    strict: options.Strict = False,
    device: options.Device = "auto",
    tensorboard: options.TensorBoard = False,
    quiet: options.Quiet = False,
) -> None:
    """Train one method on a set's train split; continue if the run folder holds a checkpoint.

    On several GPUs or machines: torchrun --nproc-per-node 4 -m nearkin fit ...
    """
    from nearkin.study.presets import get_preset

    chosen = get_preset(preset)
    from nearkin.runs.fit import fit_run
    from nearkin.train.device import pick_device

    settings, usual_subset = chosen.on(pick_device(device))
    run = fit_run(
        data,
        out,
        method,
        settings | options.overrides(set_, epochs),
        seed=seed,
        subset=subset if subset is not None else usual_subset,
        labels=labels,
        size=size,
        strict=strict,
        read=options.read_options(image_column, label_column, value_range),
        device=device,
        progress=not quiet,
        say=typer.echo,
        tensorboard=tensorboard,
    )
    if os.environ.get("RANK", "0") == "0":  # under torchrun, once
        typer.echo(f"run: {run}")
