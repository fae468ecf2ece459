"""Random resized crop and horizontal flip of a batch, one box per image.

Resizing is separable: each image is multiplied by two small interpolation matrices of its own, ``rows @ image @
columns``. That is exact for bilinear and bicubic interpolation, needs no gathering, and a flip is a column matrix
written backwards, at no cost.

Sampling follows torchvision's ``RandomResizedCrop`` (the Inception crop, Szegedy et al. 2015): ten tries of a random
area and aspect ratio, the first that fits wins, else the largest central crop within the ratio bounds.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

INTERPOLATIONS = ("bilinear", "bicubic")

_TRIES = 10
_CUBIC_A = -0.75  # Keys' constant in torch; Pillow uses -0.5.


def sample_crop(
    n: int,
    height: int,
    width: int,
    generator: torch.Generator,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    ratio: tuple[float, float] = (3 / 4, 4 / 3),
) -> Tensor:
    """Draw one crop box per image.

    Args:
        n: number of boxes.
        height, width: size of the images.
        generator: drawn from on its own device.
        scale: lowest and highest share of the image's area.
        ratio: lowest and highest width / height; its logarithm is uniform.

    Returns:
        int64 (n, 4): top, left, height, width; every box lies inside the image.
    """
    device = generator.device
    u = torch.rand(4, n, _TRIES, generator=generator, device=device, dtype=torch.float64)
    area = (u[0] * (scale[1] - scale[0]) + scale[0]) * (height * width)
    low, high = math.log(ratio[0]), math.log(ratio[1])
    aspect = torch.exp(u[1] * (high - low) + low)
    w = (area * aspect).sqrt_().round_()
    h = (area / aspect).sqrt_().round_()
    fits = (w > 0) & (w <= width) & (h > 0) & (h <= height)
    first = fits.to(torch.uint8).argmax(1, keepdim=True)  # first maximum = first try that fits
    fallback_h, fallback_w = _central(height, width, ratio)
    none = ~fits.any(1)
    h = h.gather(1, first).squeeze(1).masked_fill_(none, fallback_h)
    w = w.gather(1, first).squeeze(1).masked_fill_(none, fallback_w)
    # Uniform over the integers 0 .. free; u < 1 in float64, so the floor never reaches free + 1.
    top = (u[2, :, 0] * (height - h + 1)).floor_()
    left = (u[3, :, 0] * (width - w + 1)).floor_()
    top = torch.where(none, torch.full_like(top, (height - fallback_h) // 2), top)
    left = torch.where(none, torch.full_like(left, (width - fallback_w) // 2), left)
    return torch.stack((top, left, h, w), 1).to(torch.int64)


def _central(height: int, width: int, ratio: tuple[float, float]) -> tuple[int, int]:
    """Return height and width of the largest central crop whose aspect lies within ``ratio``."""
    aspect = width / height
    if aspect < min(ratio):
        return round(width / min(ratio)), width
    if aspect > max(ratio):
        return height, round(height * max(ratio))
    return height, width


def whole(n: int, height: int, width: int, device: torch.device) -> Tensor:
    """Return int64 (n, 4): boxes of the whole image."""
    boxes = torch.zeros(n, 4, dtype=torch.int64, device=device)
    boxes[:, 2] = height
    boxes[:, 3] = width
    return boxes


def sample_flip(n: int, generator: torch.Generator, *, p: float = 0.5) -> Tensor:
    """Draw bool (n,), True with probability ``p``: whether to mirror each image left to right."""
    return torch.rand(n, generator=generator, device=generator.device) < p


def crop_matrices(
    boxes: Tensor,
    size: int | tuple[int, int],
    shape: tuple[int, int] | torch.Size,
    *,
    interpolation: str = "bilinear",
    flip: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return the float32 matrices rows (B, h, H) and columns (B, W, w) with crop = rows @ image @ columns.

    The crop (:func:`separable`) equals torchvision's ``resized_crop(image, *box, size, antialias=False)`` image by image.
    Bicubic overshoots: clamp it to [0, 1], as Pillow and uint8 images do.

    Args:
        boxes: int64 (B, 4): top, left, height, width, inside the image.
        size: height and width (h, w) of the result; smaller and larger than the box are both fine.
        shape: height and width (H, W) of the images.
        interpolation: "bilinear" or "bicubic".
        flip: bool (B,), mirror the result left to right; free of cost here.
    """
    out_h, out_w = (size, size) if isinstance(size, int) else size
    weights = _bicubic if interpolation == "bicubic" else _bilinear
    top, left, height, width = boxes.to(torch.float32).unbind(1)
    rows = weights(_source(height, out_h, None), top, height, shape[0])
    columns = weights(_source(width, out_w, flip), left, width, shape[1])
    return rows, columns.transpose(1, 2)


def separable(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Multiply each channel of each image by its matrices: rows (B, h, H) @ image (H, W) @ columns (B, W, w).

    Args:
        images: float32 (B, C, H, W), any strides.

    Returns:
        float32 (B, C, h, w), stored channel by channel (a transposed view of (C, B, h, w)).
    """
    b, c, height, width = images.shape
    out = images.new_empty(c, b, rows.shape[1], columns.shape[2])
    if images.is_contiguous():  # one tall product for all channels
        half = torch.bmm(images.view(b, c * height, width), columns).view(b, c, height, -1)
        for k in range(c):
            torch.bmm(rows, half[:, k], out=out[k])
    else:
        for k in range(c):
            torch.bmm(rows, torch.bmm(images[:, k], columns), out=out[k])
    return out.transpose(0, 1)


def _source(length: Tensor, size: int, flip: Tensor | None) -> Tensor:
    """Return float32 (B, size): the coordinate inside the box that each output pixel's centre falls on."""
    centre = torch.arange(size, device=length.device, dtype=torch.float32) + 0.5
    target = centre[None] if flip is None else torch.where(flip[:, None], size - centre, centre)
    return (length / size)[:, None] * target - 0.5


def _bilinear(source: Tensor, start: Tensor, length: Tensor, full: int) -> Tensor:
    """Return (B, size, full): hat functions around each source coordinate, clamped to the box."""
    position = torch.minimum(source.clamp_min_(0), (length - 1)[:, None]).add_(start[:, None])
    grid = torch.arange(full, device=source.device, dtype=torch.float32)
    distance = (position[:, :, None] - grid).abs_()
    return distance.neg_().add_(1).clamp_min_(0)


def _bicubic(source: Tensor, start: Tensor, length: Tensor, full: int) -> Tensor:
    """Return (B, size, full): Keys' cubic; taps outside the box fall on its border, as in torch."""
    base = source.floor()
    t = source - base
    a = _CUBIC_A
    far, near, inner = t + 1, 2 - t, 1 - t  # distances to the four taps are far, t, inner and near
    taps = (
        ((a * far - 5 * a) * far + 8 * a) * far - 4 * a,
        ((a + 2) * t - (a + 3)) * t * t + 1,
        ((a + 2) * inner - (a + 3)) * inner * inner + 1,
        ((a * near - 5 * a) * near + 8 * a) * near - 4 * a,
    )
    out = torch.zeros(*source.shape, full, device=source.device)
    last = (length - 1)[:, None]
    for k, weight in enumerate(taps):  # one tap at a time: no index occurs twice, so the sum has one order on CUDA too
        index = torch.minimum((base + (k - 1)).clamp_min_(0), last).add_(start[:, None]).to(torch.int64)
        out.scatter_add_(2, index[:, :, None], weight[:, :, None])
    return out
