"""Flags that several commands share, so that names and help texts are the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[
    str,
    typer.Argument(
        help="A name (shapes, cifar10, cifar100, mnist, fashion-mnist, svhn, stl10) or a path: folder, .zip, .npz, .parquet."
    ),
]
Labels = Annotated[
    Path | None, typer.Option("--labels", help="CSV or Parquet with columns path, label and, optionally, split.")
]
Size = Annotated[int | None, typer.Option("--size", help="Side in pixels that all images are brought to.")]
Strict = Annotated[bool, typer.Option("--strict", help="Fail at the first unreadable image instead of skipping it.")]
Device = Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")]
Preset = Annotated[str, typer.Option("--preset", help="quick, cpu, reference or full.")]
Seed = Annotated[int, typer.Option("--seed", help="Seed of everything random.")]
Subset = Annotated[
    int | None, typer.Option("--subset", help="Use only this many train images (a fixed, stratified choice).")
]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="Override a setting, e.g. --set lr=1e-3. May be repeated.")
]
Epochs = Annotated[int | None, typer.Option("--epochs", help="Epochs of training.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bars.")]


def overrides(pairs: list[str] | None, epochs: int | None) -> dict[str, object]:
    """Settings from --set NAME=VALUE and --epochs."""
    from nearkin.errors import ConfigError

    out: dict[str, object] = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals:
            raise ConfigError(f"--set {pair}: expected NAME=VALUE, e.g. --set lr=1e-3.")
        out[name.strip()] = value.strip()
    if epochs is not None:
        out["epochs"] = epochs
    return out
