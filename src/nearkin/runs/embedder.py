"""A finished run as a function from images to vectors."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError, unknown
from nearkin.fileio import read_object
from nearkin.methods import Method, open_method

_LARGEST = 1024  # pixels; what nearkin.data loads
_BATCH, _WAITING = 512, 2  # images embedded at once beside decoding, and batches of them that may wait
Embed = Callable[[NDArray[np.uint8]], NDArray[np.float32]]


def read_config(run: Path) -> dict[str, Any]:
    """A run's config.json: at least method, seed and settings. Raises DataError: no run there, or a damaged one."""
    if not (run / "config.json").exists():
        inside = next(iter(sorted(run.glob("runs/*/config.json"))), None)
        if inside is not None:
            raise DataError(f"{run} is a study; give one of its runs, e.g. {inside.parent}.")
        raise DataError(f"no run at {run}: no config.json, as 'nearkin fit' and 'nearkin study' write it.")
    return read_object(run / "config.json", method=str, seed=int, settings=dict)


def image_size(run: Path) -> int:
    """Side of the images that a run was trained on: its own record or its study's.

    Raises:
        ConfigError: neither says. DataError: what they say is no size, or there is no run.
    """
    own = read_config(run).get("image_size")
    study = run.resolve().parent.parent / "data.json"
    if own is None and study.exists():
        shape = read_object(study).get("image_shape")
        own = shape[-1] if isinstance(shape, list) and shape else None
    if own is None:
        raise ConfigError(
            f"--run {run} does not say its image size; leave it in its study, or make it with 'nearkin fit'."
        )
    if not isinstance(own, int) or not 1 <= own <= _LARGEST:
        raise DataError(f"{run} says that its images have {str(own)[:50]} pixels a side; that cannot be.")
    return own


def open_run(
    run: Path, shape: tuple[int, ...], *, layer: str | None = None, device: str = "auto"
) -> tuple[Method, str]:
    """A finished run's method with its weights, and the layer asked for (default: the one for downstream use).

    Args:
        shape: (3, H, W) of the images, as large as those the run was trained on (:func:`image_size`).
    Raises:
        ConfigError: no such layer. DataError: no run there, or a damaged one.
    """
    read_config(run)  # tells what else the folder may be
    model = open_method(run, (shape[0], shape[1], shape[2]), device)
    chosen = layer or model.primary_layer
    if chosen not in model.layers:
        raise unknown("layer", chosen, model.layers)
    return model, chosen


def embedder(
    run: Path, shape: tuple[int, ...], *, layer: str | None = None, device: str = "auto", compiled: bool = False
) -> Embed:
    """:func:`open_run` as a function: images uint8 (N, *shape) -> one layer's vectors float32 (N, D)."""
    return one_layer(*open_run(run, shape, layer=layer, device=device), compiled=compiled)


def one_layer(model: Method, layer: str, *, compiled: bool = False) -> Embed:
    """What :func:`open_run` returns as a function; ``compiled``: after seconds of compiling, a faster one.

    Raises:
        ConfigError: nothing to compile, or the compiler fails.
    """
    if compiled:
        model.compile_embedding(layer)

    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return model.embed(images, (layer,))[layer]

    return embed


class Beside:
    """Embeds images that come one by one, as they are decoded, in a thread beside the decoding. A context manager.

    Two batches may wait; then whoever brings images waits. An error of ``embed`` is raised by :meth:`add` or :meth:`vectors`.
    """

    def __init__(self, embed: Embed) -> None:
        self._embed, self._pool = embed, ThreadPoolExecutor(1)
        self._images: list[NDArray[np.uint8]] = []
        self._rows: dict[str, int] = {}
        self._count = 0
        self._waiting: deque[Future[NDArray[np.float32]]] = deque()
        self._done: list[NDArray[np.float32]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._pool.shutdown(cancel_futures=True)

    def add(self, name: str, image: NDArray[np.uint8]) -> None:
        """Take an image uint8 (3, S, S); of two with one name, the later one counts."""
        self._rows[name] = self._count
        self._count += 1
        self._images.append(image)
        if len(self._images) == _BATCH:
            self._send()

    def vectors(self, names: NDArray[np.str_]) -> NDArray[np.float32] | None:
        """float32 (N, D) of the images with these names, in their order; None where one of them was never added."""
        rows = [self._rows.get(name, -1) for name in names.tolist()]
        if min(rows, default=-1) < 0:
            return None
        if self._images:
            self._send()
        while self._waiting:
            self._done.append(self._waiting.popleft().result())
        self._done = [np.concatenate(self._done)]
        return self._done[0][rows]

    def _send(self) -> None:
        self._waiting.append(self._pool.submit(self._embed, np.stack(self._images)))
        self._images = []
        if len(self._waiting) > _WAITING:
            self._done.append(self._waiting.popleft().result())
