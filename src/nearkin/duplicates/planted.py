"""Planted copies: images changed in known ways, on which a search for duplicates is calibrated and tested."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter

from nearkin.duplicates.registration import ORIENTATIONS, turn
from nearkin.errors import ConfigError, DataError, unknown

Picture = NDArray[np.uint8]  # (H, W, C)
COUNT = 1400


@dataclass(frozen=True)
class PlantedCopies:
    """Copies uint8 (M, C, H, W), the kind of change str (M,), and the row each is a copy of, int64 (M,)."""

    images: NDArray[np.uint8]
    kind: NDArray[np.str_]
    source_row: NDArray[np.int64]

    @property
    def rows(self) -> NDArray[np.int64]:
        """Each copy with its source, int64 (M, 2)."""
        return np.stack([np.arange(len(self.images)), self.source_row], axis=1)


def plant(
    images: NDArray[np.uint8], seed: int, *, kinds: tuple[str, ...] | None = None, count: int = COUNT
) -> PlantedCopies:
    """Copies of images drawn at random, each changed in one way (or, "mixed", in several).

    Args:
        images: uint8 (N, C, H, W), C = 1 or 3.
        kinds: names from :data:`KINDS`; default: all, equally often.
        count: number of copies. Sources are drawn without repetition as far as N allows.
    Raises:
        ConfigError: unknown kind or a count below 1. DataError: no images.
    """
    names = tuple(KINDS) if kinds is None else kinds
    for name in names:
        if name not in KINDS:
            raise unknown("kind of copy", name, KINDS)
    if count < 1 or not names:
        raise ConfigError(f"planted copies: {count} copies of {len(names)} kinds; at least one of each is needed.")
    if images.ndim != 4 or len(images) == 0 or images.shape[1] not in (1, 3):
        raise DataError(f"planted copies: images {images.shape} must be (N, 1 or 3, H, W) with N >= 1.")
    rng = np.random.default_rng(seed)
    order = [rng.permutation(len(images)) for _ in range(-(-count // len(images)))]
    source = np.concatenate(order)[:count].astype(np.int64)
    kind = np.array([names[i % len(names)] for i in range(count)], dtype=np.str_)
    copies = np.stack([_change(images[row], name, rng) for row, name in zip(source, kind, strict=True)])
    return PlantedCopies(copies, kind, source)


def plant_turned(
    images: NDArray[np.uint8], seed: int, orientations: tuple[int, ...], *, count: int = COUNT
) -> PlantedCopies:
    """:func:`plant`, with each copy brought to one of ``orientations``, and every third made gray.

    The kinds are the names of the orientations. Those that swap rows and columns are for square images only.
    """
    copies = plant(images, seed, count=count)
    square = images.shape[2] == images.shape[3]
    legal = [orientation for orientation in orientations if square or not orientation & 4]
    # In an order of their own, so that every change meets every orientation.
    drawn = np.random.default_rng([seed, 1]).choice(legal, len(copies.images))
    turned = []
    for i, (copy, orientation) in enumerate(zip(copies.images, drawn.tolist(), strict=True)):
        if i % 3 == 0:
            copy = np.broadcast_to(np.rint(copy.mean(axis=0)).astype(np.uint8), copy.shape)
        turned.append(turn(copy, orientation))
    kind = np.array(["inverted" if o & 8 else ORIENTATIONS[o] for o in drawn.tolist()], dtype=np.str_)
    return PlantedCopies(np.stack(turned), kind, copies.source_row)


def _change(image: NDArray[np.uint8], kind: str, rng: np.random.Generator) -> NDArray[np.uint8]:
    out = KINDS[kind](np.ascontiguousarray(image.transpose(1, 2, 0)), rng)
    return np.ascontiguousarray(out.transpose(2, 0, 1))


def _crop(picture: Picture, rng: np.random.Generator) -> Picture:
    """A crop of 80 to 95 % of each side, brought back to the full size. The aspect changes a little, too."""
    height, width = picture.shape[:2]
    high, wide = (max(1, round(side * rng.uniform(0.8, 0.95))) for side in (height, width))
    top, left = rng.integers(0, height - high + 1), rng.integers(0, width - wide + 1)
    part = picture[top : top + high, left : left + wide]
    return _restored(_pil(part).resize((width, height), Image.Resampling.BICUBIC), picture)


def _shift(picture: Picture, rng: np.random.Generator) -> Picture:
    """Moved by up to 8 % of the side each way; the border is repeated."""
    height, width = picture.shape[:2]
    far = [max(1, round(0.08 * side)) for side in (height, width)]
    by = [0, 0]
    while not any(by):
        by = [int(rng.integers(-reach, reach + 1)) for reach in far]
    rows = np.clip(np.arange(height) + by[0], 0, height - 1)
    columns = np.clip(np.arange(width) + by[1], 0, width - 1)
    return picture[rows][:, columns]


def _jpeg(picture: Picture, rng: np.random.Generator) -> Picture:
    """JPEG of quality 30 to 75."""
    buffer = io.BytesIO()
    _pil(picture).save(buffer, "JPEG", quality=int(rng.integers(30, 76)))
    return _restored(Image.open(buffer), picture)


def _brightness(picture: Picture, rng: np.random.Generator) -> Picture:
    """Contrast by 0.7 to 1.3, brightness by up to 30 gray levels, each channel by up to 8 more."""
    channels = picture.shape[2]
    gain, offset = rng.uniform(0.7, 1.3), rng.uniform(-30, 30) + rng.uniform(-8, 8, channels)
    mean = picture.mean()
    return _to_bytes((picture - mean) * gain + mean + offset)


def _flip(picture: Picture, rng: np.random.Generator) -> Picture:
    """Mirrored left to right."""
    return picture[:, ::-1]


def _blur(picture: Picture, rng: np.random.Generator) -> Picture:
    """Gaussian blur of 1.2 to 3 % of the side (0.4 to 1 pixel of 32)."""
    sigma = rng.uniform(0.4, 1.0) * min(picture.shape[:2]) / 32
    return _to_bytes(gaussian_filter(picture.astype(np.float32), (sigma, sigma, 0)))


def _mixed(picture: Picture, rng: np.random.Generator) -> Picture:
    """Crop, brightness, blur and JPEG; mirrored half of the time: what a picture goes through on the web."""
    for step in (_crop, _brightness, _blur, *((_flip,) if rng.random() < 0.5 else ()), _jpeg):
        picture = step(picture, rng)
    return picture


KINDS: dict[str, Callable[[Picture, np.random.Generator], Picture]] = {
    "crop": _crop,
    "shift": _shift,
    "jpeg": _jpeg,
    "brightness": _brightness,
    "flip": _flip,
    "blur": _blur,
    "mixed": _mixed,
}


def _pil(picture: Picture) -> Image.Image:
    return Image.fromarray(np.ascontiguousarray(picture[..., 0] if picture.shape[2] == 1 else picture))


def _restored(image: Image.Image, like: Picture) -> Picture:
    return np.asarray(image, dtype=np.uint8).reshape(like.shape)


def _to_bytes(values: NDArray[np.floating]) -> Picture:
    return np.asarray(np.clip(np.rint(values), 0, 255), dtype=np.uint8)
