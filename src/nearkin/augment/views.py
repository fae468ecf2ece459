"""From uint8 images to normalised random views.

Deviations from torchvision's transforms, both of them on purpose:

- parameters are drawn per image (torchvision v2 draws one set per batch);
- colour jitter always runs brightness, contrast, saturation, hue, where torchvision's ColorJitter draws a random order
  per call. An order per image would split a batch into up to 24 groups and cost several times as much. For the
  strengths in use the operations nearly commute: brightness is a factor that contrast and saturation are linear in,
  and only the clamps see the order.

On CUDA nothing here waits for the device: no shape depends on drawn values. On CPU steps that touch few images (gray,
blur, solarize) run on those only. Resizing and blur are float32 matrix products, so where TF32 is switched on for
``torch.matmul`` they round to about 1e-3.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from nearkin.augment.blur import blur_, sample_blur
from nearkin.augment.color import (
    Jitter,
    contrast_,
    grayscale_,
    hue_,
    sample_grayscale,
    sample_jitter,
    sample_solarize,
    saturation_,
    solarize_,
)
from nearkin.augment.crop import crop_matrices, sample_crop, sample_flip, separable, whole
from nearkin.augment.recipes import Recipe
from nearkin.errors import ConfigError

# Pixels per chunk on CPU: large enough to hide the cost of about 130 calls, small enough that the allocator keeps a
# chunk's temporaries instead of faulting them in again each time. Of 8 to 256 images of 32 x 32, 128 were 10 % faster
# than 64 in a process with large allocations and up to twice as slow in a fresh one.
_CHUNK_PIXELS = 64 * 1024


class ViewParameters(NamedTuple):
    """All random choices of one view of a batch, one row per image."""

    boxes: Tensor  # int64 (B, 4)
    flip: Tensor  # bool (B,)
    jitter: Jitter  # 4 x float32 (B,)
    gray: Tensor  # bool (B,)
    sigma: Tensor  # float32 (B,), 0 = no blur
    threshold: Tensor  # float32 (B,), inf = no solarize

    def rows(self, part: slice | Tensor) -> ViewParameters:
        """Return the parameters of some of the images, by slice or int64 index."""
        return ViewParameters(
            self.boxes[part],
            self.flip[part],
            Jitter(*(values[part] for values in self.jitter)),
            self.gray[part],
            self.sigma[part],
            self.threshold[part],
        )

    def to(self, device: torch.device) -> ViewParameters:
        """Return the parameters on a device, without waiting for it."""
        return ViewParameters(
            self.boxes.to(device, non_blocking=True),
            self.flip.to(device, non_blocking=True),
            Jitter(*(values.to(device, non_blocking=True) for values in self.jitter)),
            self.gray.to(device, non_blocking=True),
            self.sigma.to(device, non_blocking=True),
            self.threshold.to(device, non_blocking=True),
        )


def sample_view(recipe: Recipe, n: int, height: int, width: int, generator: torch.Generator) -> ViewParameters:
    """Draw the parameters of one view of n images of the given size, on the generator's device."""
    if recipe.crop:
        boxes = sample_crop(n, height, width, generator, scale=recipe.crop_scale, ratio=recipe.crop_ratio)
    else:
        boxes = whole(n, height, width, generator.device)
    return ViewParameters(
        boxes,
        sample_flip(n, generator, p=recipe.flip_p),
        sample_jitter(
            n,
            generator,
            brightness=recipe.brightness,
            contrast=recipe.contrast,
            saturation=recipe.saturation,
            hue=recipe.hue,
            p=recipe.jitter_p,
        ),
        sample_grayscale(n, generator, p=recipe.gray_p),
        sample_blur(n, generator, p=recipe.blur_p, sigma=recipe.blur_sigma),
        sample_solarize(n, generator, p=recipe.solarize_p, threshold=recipe.solarize_threshold),
    )


def make_views(
    images: Tensor,
    recipe: Recipe,
    generator: torch.Generator,
    n_views: int = 2,
    dtype: torch.dtype = torch.float32,
    size: int | None = None,
    memory_format: torch.memory_format = torch.contiguous_format,
    compiled: bool = False,
) -> list[Tensor]:
    """Return ``n_views`` independent random views of a batch, normalised.

    Args:
        images: uint8 (B, 3, H, W).
        recipe: what to do.
        generator: the only source of randomness: same seed, same views. Preferably on the images' device; parameters
            drawn elsewhere are copied over.
        n_views: number of views.
        dtype: of the result; the arithmetic is float32 whatever this is, autocast or not.
        size: side S of the square views; None keeps the images' size.
        memory_format: of the result.
        compiled: run compiled code (torch.compile), which fuses the colour operations; results differ by rounding.

    Returns:
        n_views tensors (B, 3, S, S), (x - mean) / std.
    """
    _check(images)
    b, _, height, width = images.shape
    shortest = min(height, width) if size is None else size
    if recipe.blur_p > 0 and recipe.blur_kernel // 2 >= shortest:
        raise ConfigError(
            f"recipe '{recipe.name}': blur_kernel {recipe.blur_kernel} is too wide for views of {shortest} pixels, "
            f"must be at most {2 * shortest - 1}."
        )
    out = []
    for _ in range(n_views):
        parameters = sample_view(recipe, b, height, width, generator)
        if generator.device != images.device:
            parameters = parameters.to(images.device)
        out.append(render(images, recipe, parameters, dtype, size, memory_format, compiled))
    return out


def normalize(
    images: Tensor,
    recipe: Recipe,
    dtype: torch.dtype = torch.float32,
    memory_format: torch.memory_format = torch.contiguous_format,
) -> Tensor:
    """Return the un-augmented view for test time: uint8 (B, 3, H, W) -> (x / 255 - mean) / std, same size."""
    _check(images)
    mean, std = _statistics(recipe, images.device)
    values = images.to(torch.float32).mul_(1 / 255).sub_(mean).div_(std)
    return values.to(dtype).contiguous(memory_format=memory_format)


def _check(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise ConfigError(
            f"views: images are {str(images.dtype).removeprefix('torch.')} {tuple(images.shape)}, "
            "must be uint8 (B, 3, H, W)."
        )


def _statistics(recipe: Recipe, device: torch.device) -> tuple[Tensor, Tensor]:
    values = torch.tensor([recipe.mean, recipe.std]).to(device, non_blocking=True)
    return values[0].view(1, 3, 1, 1), values[1].view(1, 3, 1, 1)


@torch.no_grad()
def render(
    images: Tensor,
    recipe: Recipe,
    parameters: ViewParameters,
    dtype: torch.dtype = torch.float32,
    size: int | None = None,
    memory_format: torch.memory_format = torch.contiguous_format,
    compiled: bool = False,
) -> Tensor:
    """Return the view that ``parameters`` describe: uint8 (B, 3, H, W) -> (B, 3, S, S), normalised."""
    b, _, height, width = images.shape
    shape = (height, width) if size is None else (size, size)
    out = torch.empty((b, 3, *shape), dtype=dtype, device=images.device, memory_format=memory_format)
    pixels = max(height * width, shape[0] * shape[1])
    step = max(1, _CHUNK_PIXELS // pixels) if images.device.type == "cpu" else max(1, b)
    mean, std = _statistics(recipe, images.device)
    augment = _compiled() if compiled else _augment
    with torch.autocast(images.device.type, enabled=False):
        for start in range(0, b, step):
            part = slice(start, start + step)
            view = augment(images[part], recipe, parameters.rows(part), shape)
            # Narrow first: a cast that also changes the layout is several times slower on CPU.
            out[part] = view.sub_(mean).div_(std).to(dtype)
    return out


@functools.cache
def _compiled() -> Callable[..., Tensor]:
    """Return :func:`_augment` compiled; it compiles anew for each recipe and batch size."""
    return torch.compile(_augment, dynamic=False)


def _augment(images: Tensor, recipe: Recipe, parameters: ViewParameters, shape: tuple[int, int]) -> Tensor:
    """Return float32 (B, 3, *shape) in [0, 1]. Steps that the recipe never takes are left out."""
    jitter = parameters.jitter
    rows, columns = crop_matrices(
        parameters.boxes, shape, images.shape[-2:], interpolation=recipe.interpolation, flip=parameters.flip
    )
    # Resizing is linear, so the division by 255 and the brightness factor ride on the matrices.
    brighten = recipe.jitter_p > 0 and recipe.brightness > 0
    gain = jitter.brightness if brighten else torch.ones_like(jitter.brightness)
    x = separable(images.to(torch.float32), rows.mul_((gain / 255)[:, None, None]), columns)
    # clamp(gain * clamp(v, 0, 1), 0, 1) = clamp(gain * v, 0, min(gain, 1)): bicubic overshoot is cut before brightness.
    x = x.clamp_min_(0)
    x = torch.minimum(x, gain.clamp(max=1)[:, None, None, None], out=x)
    if recipe.jitter_p > 0:
        if recipe.contrast > 0:
            contrast_(x, jitter.contrast)
        if recipe.saturation > 0:
            saturation_(x, jitter.saturation)
        if recipe.hue > 0:
            hue_(x, jitter.hue)
    if recipe.gray_p > 0:
        grayscale_(x, parameters.gray)
    if recipe.blur_p > 0:
        blur_(x, parameters.sigma, kernel=recipe.blur_kernel)
    if recipe.solarize_p > 0:
        solarize_(x, parameters.threshold)
    return x
