"""The sets that an anomaly study is about: what counts as normal, and what does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.anomalies.digit_variants import VARIANTS, as_gray, digit_variants, is_gray, shortcut_free
from nearkin.anomalies.strokes import stroke_thickness
from nearkin.data import ImageSet
from nearkin.errors import DataError, unknown


@dataclass(frozen=True)
class InSet:
    """In-distribution images: ``train`` is what scores learn from, ``test`` holds other images of the same kind."""

    train: ImageSet
    test: ImageSet

    @property
    def labels(self) -> tuple[NDArray[np.int64], NDArray[np.int64], tuple[str, ...]] | None:
        """Labels of train and test and the class names, where both have some and there are at least 2 classes."""
        a, b = self.train.labels, self.test.labels
        if a is None or b is None or len(self.train.classes) < 2:
            return None
        return a, b, self.train.classes


@dataclass(frozen=True)
class OodSet:
    """Images that do not belong.

    Attributes:
        name: short, unique. items: the images, as large as the in-distribution ones.
        note: how they were made, one line.
        shortcut_free: whether background, colour and smoothness no longer give the images away, and the verdict reads it.
        of: name of the set as it was loaded, of which this one may be a variant.
        thickness: stroke thickness in pixels of the native digit, float64 (N,); None for what has no strokes.
    """

    name: str
    items: ImageSet
    of: str
    note: str = ""
    shortcut_free: bool = False
    thickness: NDArray[np.float64] | None = None

    def describe(self) -> dict[str, Any]:
        """JSON-able, without the images."""
        names = {"name": self.name, "of": self.of, "n": len(self.items)}
        return names | {"note": self.note, "shortcut_free": self.shortcut_free}


def digit_sets(
    loaded: ImageSet,
    native: ImageSet,
    backgrounds: NDArray[np.uint8],
    *,
    unseen: NDArray[np.uint8] | None = None,
    name: str = "mnist",
    seed: int = 0,
) -> list[OodSet]:
    """Gray digits as loaded at the in-distribution size, and every variant that takes a shortcut away.

    Args:
        loaded: digits as ``nearkin.data.load(..., size=S)`` gives them (bicubic). native: the same at their own size.
        backgrounds: uint8 (B, 3, S, S), training images for the variant "recoloured".
        unseen: the same, in-distribution images in neither the training nor the test set (validation images), for
            "recoloured-unseen", which then is the set without shortcuts that the verdict reads.
    Raises:
        DataError: coloured images, or the two sets hold other images.
    """
    if loaded.ids.tolist() != native.ids.tolist():
        raise DataError(f"{name}: the images at their own size and the resized ones are not the same.")
    size = loaded.images.shape[-1]
    gray = as_gray(native.images)
    thickness = stroke_thickness(gray)
    made = digit_variants(gray, size, backgrounds, unseen=unseen, seed=seed)
    fair = shortcut_free(made)
    sets = [OodSet(name, loaded, name, "as loaded: resized (bicubic), three equal channels", thickness=thickness)]
    for variant, images in made.items():
        items = ImageSet(images, loaded.ids, loaded.labels, loaded.classes)
        note = VARIANTS[variant]
        sets.append(OodSet(f"{name}-{variant}", items, name, note, variant == fair, thickness))
    return sets


def foreign_sets(
    sources: Sequence[str],
    size: int | None,
    *,
    split: str = "test",
    backgrounds: NDArray[np.uint8] | None = None,
    unseen: NDArray[np.uint8] | None = None,
    seed: int = 0,
    progress: bool = False,
) -> list[OodSet]:
    """Load out-of-distribution images at side ``size``; with ``backgrounds``, of gray ones (digits) also the variants.

    Args:
        sources: names or paths; two of one name get names that differ.
        split: "test" (all images where the set has no test split), "train" or "all".
        backgrounds, unseen: as in :func:`digit_sets`.
    Raises:
        ConfigError: unknown split. DataError: what :func:`nearkin.data.load` raises.
    """
    sets: list[OodSet] = []
    for source in sources:
        name, loaded = load_foreign(source, size, split=split, progress=progress)
        while name in [item.of for item in sets]:
            name += "-2"
        if backgrounds is None or not is_gray(loaded.images):
            sets.append(plain_set(name, loaded))
        else:
            _, native = load_foreign(source, None, split=split, progress=progress)
            sets += digit_sets(loaded, native, backgrounds, unseen=unseen, name=name, seed=seed)
    return sets


def load_foreign(source: str, size: int | None, *, split: str = "test", progress: bool = False) -> tuple[str, ImageSet]:
    """A short name for out-of-distribution images, and the images. ``split`` and errors as in :func:`foreign_sets`."""
    name = (Path(source).parent if Path(source).name in ("raw", "") else Path(source)).stem.lower() or "ood"
    only = split if split in ("test", "train") else None
    return name, _part(nd.load(source, size=size, progress=progress, only=only), split)


def plain_set(name: str, loaded: ImageSet) -> OodSet:
    """Images as they were loaded, with stroke thickness where they look like bright strokes on black."""
    thickness = stroke_thickness(as_gray(loaded.images)) if _strokes(loaded.images) else None
    return OodSet(name, loaded, name, "as loaded", thickness=thickness)


def _part(dataset: nd.Dataset, split: str) -> ImageSet:
    if split not in ("test", "train", "all"):
        raise unknown("--ood-split", split, ("test", "train", "all"))
    if dataset.test is None or split == "train":
        return dataset.train
    if split == "test":
        return dataset.test
    a, b = dataset.train, dataset.test
    labels = None if a.labels is None or b.labels is None else np.concatenate([a.labels, b.labels])
    images, ids = np.concatenate([a.images, b.images]), np.concatenate([a.ids, b.ids])
    return ImageSet(images, ids, labels, a.classes if labels is not None else ())


def _strokes(images: NDArray[np.uint8]) -> bool:
    """Whether images look like bright strokes on black: gray, and black along the border of most."""
    return is_gray(images) and float((images[:, 0, 0] < 16).mean()) > 0.9
