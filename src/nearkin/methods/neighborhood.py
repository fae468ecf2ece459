"""Where neighbours come from: frozen features of another run, raw pixels, or (explicitly) labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.data.imageset import ImageSet
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import read_object
from nearkin.folders import CONFIG
from nearkin.search.exact import knn
from nearkin.train import ranks

# Methods whose runs are meant by a setting's value, where a study or an estimator has made them.
SOURCES = {"vicreg": "vicreg", "random": "random-init"}
Features = Callable[[NDArray[np.uint8]], NDArray[np.float32]]
_HINT = (
    "Give a run folder (written by 'nearkin fit', or found in a study's runs/), 'pixels', or 'labels' (an oracle); "
    "in a study, 'vicreg' means the study's own VICReg run"
)


def pixel_features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 (N, 3, H, W) -> float32 (N, 3 * H * W) in [0, 1]."""
    return images.reshape(len(images), -1).astype(np.float32) / np.float32(255)


def frozen_features(source: str, runs: Mapping[str, Path], shape: tuple[int, int, int], device: str) -> Features:
    """images -> features under ``source``: "pixels", a source in SOURCES whose run is in ``runs``, or the path of a run folder.

    Raises:
        ConfigError: no such run. DataError: a damaged one.
    """
    if source == "pixels":
        return pixel_features
    folder = runs.get(SOURCES.get(source, source), Path(source))
    if not (folder / CONFIG).exists():
        raise ConfigError(f"no frozen representation '{source}' to find neighbours under. {_HINT}.")
    from nearkin.methods.registry import open_method

    side = read_object(folder / CONFIG).get("image_size", shape[1])
    if side != shape[1]:
        raise ConfigError(
            f"the run {folder} was made with images of {side} pixels; these have {shape[1]}. Use --size {side}."
        )
    model = open_method(folder, shape, device)
    layer = model.primary_layer

    def features(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return model.embed(images, (layer,))[layer]

    return features


def train_neighbors(features: NDArray[np.float32], k: int, metric: str) -> NDArray[np.int64]:
    """The k nearest other training images of each training image, exact: int64 (N, k). Ranks share the search."""
    mine = ranks.share(len(features))
    own = np.arange(len(features))[mine]
    return ranks.collect(knn(features[mine], features, k, metric=metric, own=own).indices, len(features))


def train_neighbors_in_class(features: NDArray[np.float32], k: int, metric: str, train: ImageSet) -> NDArray[np.int64]:
    """The k nearest other training images of the same class, exact: int64 (N, k). Needs labels.

    In a class of k images or fewer an image's neighbours are all others, in turns.

    Raises:
        DataError: images without labels, or a class with fewer than 2 images.
    """
    labels = _every_label(train, "neighbours of the image's class (neighbors_same_class=true)")
    out = np.empty((len(features), k), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        _need_two(rows, train.classes[label])
        near = train_neighbors(features[rows], min(k, len(rows) - 1), metric)
        out[rows] = rows[near[:, np.arange(k) % near.shape[1]]]
    return out


def shared_features(features: Features, images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Features (N, D) of all images; each rank computes its share of them."""
    return ranks.collect(features(images[ranks.share(len(images))]), len(images))


def same_class(train: ImageSet, k: int, seed: int) -> NDArray[np.int64]:
    """k random other training images of the same class, an oracle: int64 (N, k). Needs labels.

    Raises:
        DataError: images without labels, or a class with fewer than 2 images.
    """
    labels = _every_label(train, "oracle neighbours (neighbors_from=labels)")
    rng = np.random.default_rng([seed, 7])
    out = np.empty((len(train), k), dtype=np.int64)
    for label in np.unique(labels):
        rows = np.flatnonzero(labels == label)
        _need_two(rows, train.classes[label])
        # A random step of 1 .. n-1 around the circle of the class never lands on the image itself.
        step = rng.integers(1, len(rows), (len(rows), k))
        out[rows] = rows[(np.arange(len(rows))[:, None] + step) % len(rows)]
    return out


def _need_two(rows: NDArray[np.int64], name: str) -> None:
    if len(rows) < 2:
        raise DataError(f"class '{name}' has one image; an oracle's neighbour needs another.")


def _every_label(train: ImageSet, what: str) -> NDArray[np.int64]:
    if train.labels is None or (train.labels < 0).any():
        raise DataError(f"{what} need a label for every training image.")
    return train.labels


def purity(neighbors: NDArray[np.int64], labels: NDArray[np.int64] | None) -> float | None:
    """Share of neighbours with the image's own class, over labelled images and their labelled neighbours.

    None where there is no such pair. Reported, never used.
    """
    if labels is None:
        return None
    own, near = labels[:, None], labels[neighbors]
    known = (own >= 0) & (near >= 0)
    return float((own == near)[known].mean()) if known.any() else None
