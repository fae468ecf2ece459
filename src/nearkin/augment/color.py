"""Colour jitter, grayscale and solarize of a batch, one parameter per image.

Each operation equals the function of the same name in ``torchvision.transforms.v2.functional`` image by image, the
clamp to [0, 1] after each included. A neutral parameter leaves an image as it is, so "with probability p" is a matter
of sampling and the operations need no masks (no synchronisation on CUDA). Brightness is a factor of the crop's matrices
(:func:`nearkin.augment.views.render`).

The functions ``*_`` work in place on float32 images (B, 3, H, W) in [0, 1] and return them.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LUMINANCE = (0.2989, 0.587, 0.114)  # ITU-R 601 as rounded by torchvision; they sum to 0.9999


class Jitter(NamedTuple):
    """Parameters of colour jitter, float32 (n,) each.

    Brightness, contrast and saturation are factors (1 is neutral), hue a shift in turns (0 is neutral).
    """

    brightness: Tensor
    contrast: Tensor
    saturation: Tensor
    hue: Tensor


def sample_jitter(
    n: int,
    generator: torch.Generator,
    *,
    brightness: float = 0.4,
    contrast: float = 0.4,
    saturation: float = 0.2,
    hue: float = 0.1,
    p: float = 0.8,
) -> Jitter:
    """Draw the parameters of ``RandomApply(ColorJitter(...), p)`` for n images.

    Factors are uniform in [max(0, 1 - strength), 1 + strength], hue in [-hue, hue]; all four are neutral with
    probability 1 - p.
    """
    u = torch.rand(5, n, generator=generator, device=generator.device)
    skip = u[4] >= p
    factors = []
    for k, strength in enumerate((brightness, contrast, saturation)):
        low = max(0.0, 1 - strength)
        factors.append((u[k] * (1 + strength - low) + low).masked_fill_(skip, 1.0))
    shift = ((u[3] * 2 - 1) * hue).masked_fill_(skip, 0.0)
    return Jitter(factors[0], factors[1], factors[2], shift)


def sample_grayscale(n: int, generator: torch.Generator, *, p: float = 0.2) -> Tensor:
    """Draw bool (n,), True with probability ``p``."""
    return torch.rand(n, generator=generator, device=generator.device) < p


def sample_solarize(n: int, generator: torch.Generator, *, p: float = 0.1, threshold: float = 0.5) -> Tensor:
    """Draw float32 (n,): ``threshold`` with probability ``p``, else infinity (neutral)."""
    u = torch.rand(n, generator=generator, device=generator.device)
    return torch.full_like(u, threshold).masked_fill_(u >= p, float("inf"))


def contrast_(images: Tensor, factor: Tensor) -> Tensor:
    """Scale by ``factor`` (B,), >= 0, around the mean luminance of each image and clamp."""
    channels = images.mean((2, 3))
    mean = sum(weight * channels[:, k] for k, weight in enumerate(LUMINANCE))
    return images.mul_(_each(factor)).add_(_each(mean * (1 - factor))).clamp_(0, 1)


def saturation_(images: Tensor, factor: Tensor) -> Tensor:
    """Scale by ``factor`` (B,), >= 0, around the luminance of each pixel and clamp."""
    gray = luminance(images).mul_((1 - factor)[:, None, None])
    return images.mul_(_each(factor)).add_(gray[:, None]).clamp_(0, 1)


def hue_(images: Tensor, shift: Tensor) -> Tensor:
    """Rotate the hue by ``shift`` (B,) turns, in [-0.5, 0.5], keeping HSV's saturation and value.

    Both directions in closed form, without the case distinctions of the textbook (comparing and selecting is what
    makes a hue slow). With ``low`` and ``high`` the smallest and largest channel and c = high - low, the hue in
    sixths of a turn is, modulo 6, sign(g - b) (1 + (g + b - r - low) / c): check it on each of the six sectors. Back
    again, with h in [0, 6): red is low + c t(h - 3), green high - c t(h - 2) and blue high - c t(h - 4), where
    t(x) = clamp(abs(x) - 1, 0, 1).
    """
    r, g, b = images.unbind(1)
    high = torch.maximum(torch.maximum(r, g), b)
    low = torch.minimum(torch.minimum(r, g), b)
    chroma = high - low
    # Where c is 0 the hue does not matter, only that it is finite: 0 / 1e-20.
    h = (g + b).sub_(r).sub_(low).div_(chroma + 1e-20).add_(1).copysign_(g - b)
    h.add_((shift * 6)[:, None, None])
    h.sub_((h * (1 / 6)).floor_(), alpha=6)
    torch.addcmul(low, chroma, (h - 3).abs_().sub_(1).clamp_(0, 1), out=r)
    torch.addcmul(high, chroma, (h - 2).abs_().sub_(1).clamp_(0, 1), value=-1, out=g)
    torch.addcmul(high, chroma, h.sub_(4).abs_().sub_(1).clamp_(0, 1), value=-1, out=b)
    return images


def grayscale_(images: Tensor, gray: Tensor) -> Tensor:
    """Replace all channels by the luminance where ``gray`` (bool (B,)) is True."""
    if indexes(images):
        index = gray.nonzero().squeeze(1)
        if len(index):
            images[index] = luminance(images[index])[:, None]
        return images
    return images.copy_(torch.where(_each(gray), luminance(images)[:, None], images))


def solarize_(images: Tensor, threshold: Tensor) -> Tensor:
    """Invert the values at or above ``threshold`` (B,); infinity is neutral."""
    if indexes(images):
        index = threshold.isfinite().nonzero().squeeze(1)
        if len(index):
            part = images[index]
            images[index] = torch.where(part >= _each(threshold[index]), 1 - part, part)
        return images
    return images.copy_(torch.where(images >= _each(threshold), 1 - images, images))


def indexes(images: Tensor) -> bool:
    """Whether to work on the affected images only. That saves time on a CPU. On a GPU, finding them waits for the device;
    in compiled code it breaks the graph."""
    return images.device.type == "cpu" and not torch.compiler.is_compiling()


def luminance(images: Tensor) -> Tensor:
    """Return the luminance (B, H, W) of images (B, 3, H, W)."""
    r, g, b = images.unbind(1)
    return (r * LUMINANCE[0]).add_(g, alpha=LUMINANCE[1]).add_(b, alpha=LUMINANCE[2])


def _each(values: Tensor) -> Tensor:
    """Shape one value per image (B,) for broadcasting over (B, C, H, W)."""
    return values[:, None, None, None]
