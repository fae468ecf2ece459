"""ImageSet: images as uint8 (N, C, H, W) with ids and optional labels, and its splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nearkin.data.rows import take_rows

UNLABELLED = -1


@dataclass(frozen=True)
class ImageSet:
    """A set of equally sized images.

    Attributes:
        images: uint8 (N, C, H, W), C = 3, values 0..255. May be a read-only memory map, or rows of one (data.rows.Rows).
        ids: str (N,), unique; for files the path relative to the data folder, with forward slashes.
        labels: int64 (N,), index into ``classes``, or -1 where unknown; None for a set without labels.
        classes: class names, in label order; empty when ``labels`` is None.
        factors: known nuisance factors per image, name -> (N,) integer or float array (built-in data set).
    """

    images: NDArray[np.uint8]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    factors: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def known_labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 (N,); -1 throughout for a set without."""
        return self.labels if self.labels is not None else np.full(len(self), UNLABELLED, dtype=np.int64)

    def take(self, index: NDArray[np.int64]) -> ImageSet:
        """Return the images at ``index`` (int64 (M,)), in that order."""
        return ImageSet(
            images=take_rows(self.images, index),
            ids=self.ids[index],
            labels=None if self.labels is None else self.labels[index],
            classes=self.classes,
            factors={name: values[index] for name, values in self.factors.items()},
        )


def parts_by_name(
    images: NDArray[np.uint8], ids: NDArray[np.str_], names: Sequence[str | None], split: NDArray[np.str_]
) -> tuple[ImageSet, ImageSet | None]:
    """Train and test of N images by their class names (None: unknown) and split names "train" and "test".

    Classes are numbered in alphabetical order, over both. Where only test has images, they are what there is to learn from.
    """
    classes = tuple(sorted({name for name in names if name is not None}))
    order = {name: k for k, name in enumerate(classes)}
    labels = np.array([UNLABELLED if name is None else order[name] for name in names], dtype=np.int64)
    whole = ImageSet(images, ids, labels if classes else None, classes)
    train, test = (whole.take(np.flatnonzero(split == which)) for which in ("train", "test"))
    if not len(train):
        return test, None
    return train, test if len(test) else None


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used: its path relative to the data folder, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class Dataset:
    """What ``nearkin.data.load`` returns.

    Attributes:
        name: short name for titles ("cifar10", "shapes", the folder's name).
        source: what the user asked for (path or name).
        train: images to learn from. A set without a split has everything here.
        test: held-out images, or None when the source has no test split.
        fingerprint: hex digest of the content (images, ids, labels).
        skipped: unreadable files.
        notes: one-line remarks for the user ("resized 120 images of mixed sizes to 64 x 64").
    """

    name: str
    source: str
    train: ImageSet
    test: ImageSet | None
    fingerprint: str
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Splits:
    """Train / validation / test. Everything is chosen on validation; test is read once, at the end.

    Labels never reach a training batch: the loop is given ``train.images`` only.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet
