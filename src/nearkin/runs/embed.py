"""Embed with a finished run: a set into one file, image files, images in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nearkin.data import ImageSet, ReadOptions, Skipped, Splits
from nearkin.data.decode import AS_FOUND, to_square
from nearkin.data.folder import Watch, read_images
from nearkin.data.sources import as_trained
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import claim
from nearkin.runs.fit import Say, load_splits
from nearkin.runs.run import Embed, open_run

_BATCH, _WAITING = 512, 2  # images embedded at once beside decoding, and batches of them that may wait


def embed_splits(
    embed: Callable[[ImageSet], dict[str, NDArray[np.float32]]], splits: Splits, provenance: Mapping[str, Any]
) -> dict[str, Embeddings]:
    """Embed train, val and test, in this order: Embeddings by layer. ``embed`` returns vectors by layer."""
    sets = {"train": splits.train, "val": splits.val, "test": splits.test}
    parts = {name: embed(items) for name, items in sets.items()}
    vectors = {layer: _joined([part.pop(layer) for part in parts.values()]) for layer in list(parts["train"])}
    ids = np.concatenate([items.ids for items in sets.values()])
    split = np.concatenate([np.full(len(items), name) for name, items in sets.items()])
    labels = None
    if any(items.labels is not None for items in sets.values()):
        labels = np.concatenate([items.known_labels() for items in sets.values()])
    classes = splits.train.classes or splits.test.classes
    return {
        layer: Embeddings(Z, ids, labels, split, classes, {**provenance, "layer": layer})
        for layer, Z in vectors.items()
    }


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """All rows in one array; the list is emptied, so that rows of many pixels are not there twice."""
    out = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=parts[0].dtype)
    done = 0
    while parts:
        part = parts.pop(0)
        out[done : done + len(part)] = part
        done += len(part)
    return out


def encoder_note(provenance: Mapping[str, Any]) -> str:
    """What a person must know of the encoder that made vectors, where others trained it; else empty."""
    encoder = provenance.get("encoder")
    return str(encoder.get("note", "")) if isinstance(encoder, dict) else ""


def embed_run(
    folder: Path,
    data: str,
    out: Path,
    *,
    layer: str | None,
    labels: Path | None,
    subset: int | None,
    strict: bool,
    read: ReadOptions = AS_FOUND,
    device: str,
    progress: bool,
    compiled: bool = False,
    say: Say = print,
) -> Embeddings:
    """Embed a set with a finished run and save one layer as Parquet. What must be decoded is embedded meanwhile."""
    run = open_run(folder)
    embed = run.open(layer, device=device, compiled=compiled)
    with EmbedWhileDecoding(embed) as meanwhile:
        # Not where images are left out after they have been decoded, nor where what is embedded together matters.
        apart = subset is None and embed.method.one_by_one
        watch: dict[str, Watch] = {"watch": meanwhile.add} if apart else {}
        read = as_trained(read, run.config().read, data)
        splits, read = load_splits(data, labels, run.image_size(), strict, subset, progress, say, read=read, **watch)

        def by_layer(items: ImageSet) -> dict[str, NDArray[np.float32]]:
            known = meanwhile.vectors(items.ids)
            return {embed.layer: embed(items.images) if known is None else known}

        provenance = (
            run.config().to_json()
            | embed.method.provenance
            | {"run": run.name}
            | ({"compiled": True} if compiled else {})
        )
        provenance |= {"read": read.given()} if read.given() else {}
        made = embed_splits(by_layer, splits, provenance)[embed.layer]
    claim(out.parent)
    made.save(out)
    return made


@dataclass(frozen=True)
class EmbeddedFiles:
    """Image files and their vectors.

    Attributes:
        names: as given; for a folder, the paths of its files. images: uint8 (M, 3, S, S), as the encoder saw them.
        Z: float32 (M, D). skipped: unreadable files of folders.
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    Z: NDArray[np.float32]
    layer: str
    skipped: tuple[Skipped, ...] = ()


def embed_files(
    folder: Path, paths: Sequence[Path], *, layer: str | None, device: str, like: Mapping[str, Any]
) -> EmbeddedFiles:
    """Embed image files, and the image files in folders, with a finished run.

    Args:
        like: provenance of the embeddings that these vectors are to be compared with. It names the layer, where ``layer``
            is None, and another method, seed or settings than the run's are refused.
    Raises:
        ConfigError: the run is not the one of ``like``, has no such layer, or its image size cannot be found.
        DataError: no run there, an unreadable file, a folder without readable images.
    """
    run = open_run(folder)
    config = run.config()
    for name in ("method", "seed", "settings"):
        if name in like and like[name] != getattr(config, name):
            raise ConfigError(
                f"--run {folder} is {config.method} with seed {config.seed}, but the embeddings were made with another "
                f"{name}: vectors of two runs cannot be compared. Give the run that made them."
            )
    names, decoded, skipped = read_images(paths, ReadOptions.of(config.read).value_range)
    images = np.stack([to_square(image, run.image_size()) for image in decoded])
    embed = run.open(layer, device=device)
    if layer is None and like.get("layer") in embed.method.layers:
        embed = replace(embed, layer=like["layer"])
    return EmbeddedFiles(tuple(names), images, embed(images), embed.layer, tuple(skipped))


def embed_images(folder: Path, images: NDArray[np.uint8], layer: str | None, device: str) -> NDArray[np.float32]:
    """Vectors float32 (N, D) of images uint8 (N, 3, S, S), already in memory, by a finished run.

    Raises:
        DataError: no run there, or one of images of another size. ConfigError: unknown layer.
    """
    run = open_run(folder)
    if run.image_size() != images.shape[-1]:
        raise DataError(
            f"{folder} was trained on images of side {run.image_size()}; these have side {images.shape[-1]}."
        )
    return run.open(layer, device=device)(images)


class EmbedWhileDecoding:
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
