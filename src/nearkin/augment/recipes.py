"""Recipes: named sets of augmentation settings."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nearkin.augment.crop import INTERPOLATIONS
from nearkin.errors import ConfigError, unknown

CIFAR10_MEAN = (0.4914, 0.4822, 0.4465)
CIFAR10_STD = (0.2470, 0.2435, 0.2616)

_PAIRS = ("crop_scale", "crop_ratio", "blur_sigma")
_TRIPLES = ("mean", "std")
_PROBABILITIES = ("flip_p", "jitter_p", "gray_p", "blur_p", "solarize_p")


@dataclass(frozen=True)
class Recipe:
    """Settings of the random views, applied in the order of the fields.

    Attributes:
        name: what to call it.
        crop: whether to crop at random; otherwise the whole image is resized where needed.
        crop_scale: lowest and highest share of the area, in (0, 1].
        crop_ratio: lowest and highest width / height.
        interpolation: "bilinear" or "bicubic", without antialiasing.
        flip_p: probability of a left-right mirror.
        jitter_p: probability of colour jitter (all four below, in this order).
        brightness, contrast, saturation: strength s, factor uniform in [max(0, 1 - s), 1 + s].
        hue: strength in [0, 0.5], shift uniform in [-hue, hue] turns.
        gray_p: probability of grayscale.
        blur_p: probability of a Gaussian blur.
        blur_kernel: odd width of its filter in pixels.
        blur_sigma: lowest and highest standard deviation in pixels.
        solarize_p: probability of solarize.
        solarize_threshold: values at or above it are inverted.
        mean, std: per channel, of values in [0, 1]; the last step is (x - mean) / std.
    """

    name: str
    crop: bool = True
    crop_scale: tuple[float, float] = (0.2, 1.0)
    crop_ratio: tuple[float, float] = (3 / 4, 4 / 3)
    interpolation: str = "bilinear"
    flip_p: float = 0.5
    jitter_p: float = 0.8
    brightness: float = 0.4
    contrast: float = 0.4
    saturation: float = 0.2
    hue: float = 0.1
    gray_p: float = 0.2
    blur_p: float = 0.0
    blur_kernel: int = 3
    blur_sigma: tuple[float, float] = (0.1, 2.0)
    solarize_p: float = 0.0
    solarize_threshold: float = 0.5
    mean: tuple[float, float, float] = CIFAR10_MEAN
    std: tuple[float, float, float] = CIFAR10_STD

    def __post_init__(self) -> None:
        for field in (*_PAIRS, *_TRIPLES):
            size = 2 if field in _PAIRS else 3
            values = getattr(self, field)
            if not isinstance(values, (tuple, list)) or len(values) != size or not all(map(_finite, values)):
                raise self._error(field, f"{size} numbers")
            object.__setattr__(self, field, tuple(float(value) for value in values))
        for field in (*_PROBABILITIES, "brightness", "contrast", "saturation", "hue", "solarize_threshold"):
            if not _finite(getattr(self, field)):
                raise self._error(field, "a number")
        for field in _PROBABILITIES:
            if not 0 <= getattr(self, field) <= 1:
                raise self._error(field, "a probability in [0, 1]")
        for field in ("brightness", "contrast", "saturation"):
            if getattr(self, field) < 0:
                raise self._error(field, "a strength >= 0")
        if not 0 <= self.hue <= 0.5:
            raise self._error("hue", "a strength in [0, 0.5]")
        if not 0 < self.crop_scale[0] <= self.crop_scale[1] <= 1:
            raise self._error("crop_scale", "(low, high) with 0 < low <= high <= 1")
        if not 0 < self.crop_ratio[0] <= self.crop_ratio[1]:
            raise self._error("crop_ratio", "(low, high) with 0 < low <= high")
        if not 0 < self.blur_sigma[0] <= self.blur_sigma[1]:
            raise self._error("blur_sigma", "(low, high) with 0 < low <= high")
        if not isinstance(self.blur_kernel, int) or self.blur_kernel < 1 or self.blur_kernel % 2 == 0:
            raise self._error("blur_kernel", "an odd whole number >= 1")
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", str(self.interpolation), INTERPOLATIONS)
        if min(self.std) <= 0:
            raise self._error("std", "3 numbers > 0")

    def _error(self, field: str, legal: str) -> ConfigError:
        return ConfigError(f"recipe '{self.name}': {field} is {getattr(self, field)!r}, must be {legal}.")


def _finite(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


REFERENCE = Recipe("reference", blur_p=0.5)
"""The reference study's views. Jitter p 0.8 and sigma (0.1, 2.0) are the usual values; the study's published
settings name neither."""

CIFAR = Recipe("cifar", interpolation="bicubic", solarize_p=0.1)
"""solo-learn's CIFAR recipe for VICReg (its vicreg.yaml): symmetric, solarize p 0.1 on both views, no blur. Deviation:
its bicubic is Pillow's (a = -0.5), ours torch's (a = -0.75)."""

SIMPLE = Recipe("simple")
"""Crop, flip, jitter and gray only: the reference study's views without blur, which hides much of a 32 x 32 image."""

NONE = Recipe("none", crop=False, flip_p=0.0, jitter_p=0.0, gray_p=0.0)
"""No augmentation: every view is the normalised image."""

RECIPES: dict[str, Recipe] = {recipe.name: recipe for recipe in (REFERENCE, CIFAR, SIMPLE, NONE)}


def get_recipe(name: str) -> Recipe:
    """Return the recipe called ``name``; raises ConfigError with "did you mean" for an unknown one."""
    if name not in RECIPES:
        raise unknown("recipe", name, RECIPES)
    return RECIPES[name]
