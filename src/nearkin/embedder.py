"""A finished run as a function from images to vectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.atomic import read_json
from nearkin.errors import ConfigError, unknown
from nearkin.methods import create, needed_runs

Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def image_size(run: Path) -> int:
    """Side of the images that a run was trained on: its own record or its study's.

    Raises:
        ConfigError: neither says.
    """
    own = read_json(run / "config.json").get("image_size")
    study = run.resolve().parent.parent / "data.json"
    if own is None and study.exists():
        own = read_json(study).get("image_shape", [None])[-1]
    if own is None:
        raise ConfigError(
            f"--run {run} does not say its image size; leave it in its study, or make it with 'nearkin fit'."
        )
    return int(own)


def open_run(run: Path, shape: tuple[int, ...], *, layer: str | None = None, device: str = "auto") -> tuple[Any, str]:
    """A finished run's method with its weights, and the layer asked for (default: the one for downstream use).

    Args:
        shape: (3, H, W) of the images, as large as those the run was trained on (:func:`image_size`).
    Raises:
        ConfigError: no such layer. DataError: no run there, or a damaged one.
    """
    config = read_json(run / "config.json")
    model = create(config["method"], config["settings"], (shape[0], shape[1], shape[2]))
    model.use_runs(needed_runs(config["method"], config["seed"], run.parent))
    model.load(run, device)
    chosen = layer or model.primary_layer
    if chosen not in model.layers:
        raise unknown("layer", chosen, model.layers)
    return model, chosen


def embedder(run: Path, shape: tuple[int, ...], *, layer: str | None = None, device: str = "auto") -> Embed:
    """:func:`open_run` as a function: images uint8 (N, *shape) -> one layer's vectors float32 (N, D)."""
    model, chosen = open_run(run, shape, layer=layer, device=device)

    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.embed(images, (chosen,))[chosen]
        return vectors

    return embed
