"""The images that an anomaly study is about: what counts as normal, what does not, and digits without their shortcuts.

Digits on black differ from photographs in their background, colour, brightness and smoothness before they differ in
content. Each variant of them takes one of these shortcuts away from a detector. The recoloured ones lay the strokes over
in-distribution images, so that only the content is left as a clue. Over training images the test is unfair to neighbour
scores, which hold each background itself without the digit; over in-distribution images that no score has seen it is fair.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.data import ImageSet
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.system import available_cores

VARIANTS: dict[str, str] = {
    "bilinear": "resized bilinearly, three equal channels",
    "padded": "zero-padded instead of resized",
    "inverted": "resized bilinearly, dark strokes on white",
    "recoloured": "padded, strokes in a random colour over in-distribution training images",
    "recoloured-unseen": "padded, strokes in a random colour over in-distribution images that no score has seen",
}
_RECOLOURED = 2000  # digits that are blended at once
_ZOOM = 3  # digits are enlarged so much to measure their strokes
_THREAD_IMAGES = 250  # that one thread measures at once


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

    def describe(self) -> SetDescription:
        """Without the images."""
        return SetDescription(self.name, self.of, len(self.items), self.note, self.shortcut_free)


@dataclass(frozen=True)
class SetDescription:
    """An :class:`OodSet` without its images: ``n`` is their number.

    kind: "far" where a score that needs no learning tells it from the in-distribution images, else "near"; None: unknown.
    """

    name: str
    of: str
    n: int
    note: str
    shortcut_free: bool
    kind: str | None = None


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
        path = Path(source)
        name = (path.parent if path.name in ("raw", "") else path).stem.lower() or "ood"
        while name in [item.of for item in sets]:
            name += "-2"
        loaded = _load(source, size, split, progress)
        gray = is_gray(loaded.images)
        if gray and backgrounds is not None:
            native = _load(source, None, split, progress)
            sets += digit_sets(loaded, native, backgrounds, unseen=unseen, name=name, seed=seed)
            continue
        # Bright strokes on black: black along the border of most images.
        strokes = gray and float((loaded.images[:, 0, 0] < 16).mean()) > 0.9
        thickness = stroke_thickness(loaded.images[:, 0]) if strokes else None
        sets.append(OodSet(name, loaded, name, "as loaded", thickness=thickness))
    return sets


def _load(source: str, size: int | None, split: str, progress: bool) -> ImageSet:
    """The images of one split, or of both ("all"); errors as of :func:`foreign_sets`."""
    if split not in ("test", "train", "all"):
        raise unknown("--ood-split", split, ("test", "train", "all"))
    dataset = nd.load(source, size=size, progress=progress, only=None if split == "all" else split)
    if dataset.test is None or split == "train":
        return dataset.train
    if split == "test":
        return dataset.test
    a, b = dataset.train, dataset.test
    labels = None if a.labels is None or b.labels is None else np.concatenate([a.labels, b.labels])
    images, ids = np.concatenate([a.images, b.images]), np.concatenate([a.ids, b.ids])
    return ImageSet(images, ids, labels, a.classes if labels is not None else ())


# Variants of digits


def digit_variants(
    digits: NDArray[np.uint8],
    size: int,
    backgrounds: NDArray[np.uint8],
    *,
    unseen: NDArray[np.uint8] | None = None,
    seed: int = 0,
) -> dict[str, NDArray[np.uint8]]:
    """All :data:`VARIANTS` of gray digits at their native size.

    Args:
        digits: uint8 (N, h, w), bright strokes on black, or (N, 3, h, w) with equal channels; h, w <= ``size``.
        size: side of the results. backgrounds: uint8 (B, 3, size, size), training images.
        unseen: the same, in-distribution images in neither the training nor the test set; without them the variant
            "recoloured-unseen" is left out.
    Returns:
        name -> uint8 (N, 3, size, size).
    Raises:
        DataError: coloured digits, digits larger than ``size``, or backgrounds of another size.
    """
    gray = as_gray(digits)
    small = padded(gray, size)
    large = resized(gray, size)
    out = {
        "bilinear": three(large),
        "padded": three(small),
        "inverted": three(255 - large),
        "recoloured": recoloured(small, backgrounds, seed=seed),
    }
    if unseen is not None:
        out["recoloured-unseen"] = recoloured(small, unseen, seed=seed)
    return out


def shortcut_free(made: Iterable[str]) -> str | None:
    """The fairest of the variants made that leaves no shortcut; None if there is none."""
    return next((name for name in ("recoloured-unseen", "recoloured") if name in made), None)


def as_gray(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, h, w) or (N, 3, h, w) with equal channels -> uint8 (N, h, w). Raises DataError for coloured images."""
    if images.dtype != np.uint8 or images.ndim not in (3, 4):
        raise DataError(f"digits must be uint8 (N, h, w) or (N, 3, h, w); got {images.dtype} {images.shape}.")
    if images.ndim == 3:
        return images
    if any((images[:, 0] != images[:, channel]).any() for channel in range(1, images.shape[1])):
        raise DataError("variants are made of gray images (digits on black); these have colours.")
    return np.ascontiguousarray(images[:, 0])


def is_gray(images: NDArray[np.uint8]) -> bool:
    """Whether all channels of uint8 (N, C, H, W) are equal."""
    return all(bool((images[:, 0] == images[:, channel]).all()) for channel in range(1, images.shape[1]))


def three(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W) -> three equal channels (N, 3, H, W)."""
    return np.repeat(gray[:, None], 3, axis=1)


def resized(gray: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Bilinear, by Pillow: uint8 (N, h, w) -> (N, size, size)."""
    from PIL import Image

    if gray.shape[1:] == (size, size):
        return gray
    out = np.empty((len(gray), size, size), dtype=np.uint8)
    for i, image in enumerate(gray):
        out[i] = np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))
    return out


def padded(gray: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Zeros on all sides: uint8 (N, h, w) -> (N, size, size). Raises DataError for larger digits."""
    height, width = gray.shape[1:]
    if height > size or width > size:
        raise DataError(f"digits of {height} x {width} pixels cannot be padded to {size} x {size}.")
    top, left = (size - height) // 2, (size - width) // 2
    return np.pad(gray, ((0, 0), (top, size - height - top), (left, size - width - left)))


def recoloured(gray: NDArray[np.uint8], backgrounds: NDArray[np.uint8], *, seed: int = 0) -> NDArray[np.uint8]:
    """Strokes alpha-blended in one random RGB colour per digit over random backgrounds: uint8 (N, 3, S, S).

    out = a colour + (1 - a) background with a = gray / 255. Colours are uniform in RGB, so some digits are hard to see.
    Args:
        gray: uint8 (N, S, S). backgrounds: uint8 (B, 3, S, S); drawn with replacement.
    Raises:
        DataError: no backgrounds, or of another size. ConfigError: a negative seed.
    """
    if seed < 0:
        raise ConfigError(f"seed is {seed}; it must be at least 0.")
    if backgrounds.ndim != 4 or backgrounds.shape[1:] != (3, *gray.shape[1:]) or len(backgrounds) == 0:
        raise DataError(f"backgrounds {backgrounds.shape} must be (B, 3, {gray.shape[1]}, {gray.shape[2]}), B >= 1.")
    rng = np.random.default_rng(seed)
    chosen = rng.integers(0, len(backgrounds), len(gray))
    colours = rng.integers(0, 256, (len(gray), 3, 1, 1))
    out = np.empty((len(gray), 3, *gray.shape[1:]), dtype=np.uint8)
    for start in range(0, len(gray), _RECOLOURED):
        rows = slice(start, start + _RECOLOURED)
        alpha = gray[rows, None].astype(np.float32) / 255
        out[rows] = alpha * colours[rows] + (1 - alpha) * backgrounds[chosen[rows]] + 0.5
    return out


# Strokes


def stroke_thickness(gray: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean stroke width in pixels of bright strokes on a dark ground.

    In a long bar of width w the distance to the border is spread evenly over 0..w/2, so its mean is w/4 and the width is
    four times the mean over the stroke. Images are enlarged three times (bilinear) first, because strokes are only a few
    pixels wide; a pixel belongs to the stroke above half of the image's brightest value.

    Args:
        gray: uint8 (N, H, W).
    Returns:
        float64 (N,); 0 for an image without stroke.
    """
    starts = range(0, len(gray), _THREAD_IMAGES)
    with ThreadPoolExecutor(available_cores()) as pool:  # resizing and distances run outside of Python's lock
        parts = pool.map(lambda i: [_thickness(image) for image in gray[i : i + _THREAD_IMAGES]], starts)
        return np.array([value for part in parts for value in part], dtype=np.float64)


def _thickness(image: NDArray[np.uint8]) -> float:
    from PIL import Image
    from scipy.ndimage import distance_transform_edt

    height, width = image.shape
    large = np.asarray(Image.fromarray(image).resize((width * _ZOOM, height * _ZOOM), Image.Resampling.BILINEAR))
    stroke = large > int(image.max()) / 2
    if not stroke.any():
        return 0.0
    # A ring of background, so that a stroke ends at the picture's edge.
    distance = distance_transform_edt(np.pad(stroke, 1))
    # The nearest background pixel's centre lies half a pixel beyond the border.
    return 4 * (float(distance.sum() / stroke.sum()) - 0.5) / _ZOOM
