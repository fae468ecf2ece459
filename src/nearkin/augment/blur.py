"""Gaussian blur of a batch, one sigma per image.

The kernel is separable and the image small, so a blur is ``A @ image @ A.T`` with a banded matrix A of each image's
own, reflection at the borders included; equal to torchvision's ``gaussian_blur`` image by image.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from nearkin.augment.color import indexes
from nearkin.augment.crop import separable


def sample_blur(
    n: int, generator: torch.Generator, *, p: float = 0.5, sigma: tuple[float, float] = (0.1, 2.0)
) -> Tensor:
    """Draw float32 (n,): sigma uniform in its range with probability ``p``, else 0 (neutral)."""
    u = torch.rand(2, n, generator=generator, device=generator.device)
    return (u[0] * (sigma[1] - sigma[0]) + sigma[0]).masked_fill_(u[1] >= p, 0.0)


def blur_(images: Tensor, sigma: Tensor, *, kernel: int = 3) -> Tensor:
    """Blur float32 images (B, 3, H, W) in place, with ``sigma`` float (B,) >= 0 pixels; 0 leaves an image as it is.

    ``kernel`` is the odd width of the filter, with kernel // 2 < min(H, W). On CPU only the images with sigma > 0 are touched.
    """
    if indexes(images):
        index = (sigma > 0).nonzero().squeeze(1)
        if len(index):
            images[index] = _blurred(images[index], sigma[index], kernel)
        return images
    return images.copy_(_blurred(images, sigma, kernel))


def gaussian_taps(sigma: Tensor, kernel: int) -> Tensor:
    """Return the filters (B, kernel), each summing to 1; sigma 0 gives the identity."""
    radius = kernel // 2
    offset = torch.arange(-radius, radius + 1, device=sigma.device, dtype=torch.float32)
    # The floor keeps sigma = 0 finite; at 1e-3 every tap but the middle one is exactly 0 in float32.
    return torch.softmax((offset / sigma.clamp_min(1e-3)[:, None]).square_().mul_(-0.5), 1)


def _blurred(images: Tensor, sigma: Tensor, kernel: int) -> Tensor:
    taps = gaussian_taps(sigma, kernel)
    height, width = images.shape[-2:]
    rows = _banded(taps, height)
    columns = rows if height == width else _banded(taps, width)
    return separable(images, rows, columns.transpose(1, 2))


def _banded(taps: Tensor, size: int) -> Tensor:
    """Return (B, size, size): the filter centred on every pixel, folded back at the borders by reflection."""
    # A compiler cannot see through a cache.
    remembered = _shifts.__wrapped__ if torch.compiler.is_compiling() else _shifts
    shifts = remembered(taps.shape[1], size, taps.device)
    return (taps @ shifts).view(-1, size, size)


@lru_cache(maxsize=8)
def _shifts(kernel: int, size: int, device: torch.device) -> Tensor:
    """Return (kernel, size * size): for each tap the matrix that fetches the pixel it falls on."""
    radius = kernel // 2
    target = torch.arange(size)[:, None] + torch.arange(-radius, radius + 1)[None]
    target = (size - 1 - (size - 1 - target.abs()).abs()).T  # reflect: -1 -> 1, size -> size - 2
    out = torch.zeros(kernel, size, size).scatter_(2, target[:, :, None], 1.0)
    return out.view(kernel, size * size).to(device)
