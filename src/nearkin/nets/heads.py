"""The nets behind an encoder: the projector of joint embeddings, the decoder of latent optimisation."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from nearkin.errors import ConfigError

_MOST_WEIGHTS = 2**30


def projector(in_features: int, widths: Sequence[int]) -> nn.Sequential:
    """The MLP between the representation and the loss: Linear-BatchNorm-ReLU for every width but the last, which is a plain linear layer without bias.

    ``widths=(2048, 2048, 2048)`` is the projector of the VICReg code (Bardes et al. 2022, section 4.2).
    Maps (B, in_features) to (B, widths[-1]).

    Raises:
        ConfigError: no widths, one below 1, or more than 2^30 weights (the largest published have some 10^8).
    """
    weights = sum(a * b for a, b in pairwise((in_features, *widths)))
    if not widths or min(widths) < 1 or weights > _MOST_WEIGHTS:
        raise ConfigError(
            f"projector is {','.join(map(str, widths)) or 'empty'}; it needs at least one width, each at least 1, and at "
            f"most {_MOST_WEIGHTS:,} weights, e.g. 1024,1024."
        )
    layers: list[nn.Module] = []
    previous = in_features
    for width in widths[:-1]:
        layers += [nn.Linear(previous, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        previous = width
    layers.append(nn.Linear(previous, widths[-1], bias=False))
    return nn.Sequential(*layers)


class Decoder(nn.Module):
    """Code (B, D) and conditions (B, C) -> image (B, 3, S, S), normalised like the views.

    A linear layer to S/8 x S/8 maps, then three times a 3x3 convolution whose channels become pixels (PixelShuffle, Shi et
    al. 2016), the first two followed by GroupNorm and GELU. Convolutions then run at the lower resolution with four times
    the channels: as many products as after up-sampling, in less than half the time on a CPU. At every scale two extra
    channels hold where each position lies in the original image (from the crop's box and flip), so that a shared code can
    be drawn from any crop. GroupNorm instead of BatchNorm: an image's code must not depend on which images are optimised
    beside it. Groups have at least 4 channels: with one, the norm would remove each channel's mean, and no decoder could
    draw an image's overall colour.

    Args:
        code_dim: D. condition_dim: C. image_size: S, a multiple of 8 or rounded up and cropped. width: channels at S/8.
    """

    def __init__(self, code_dim: int, condition_dim: int, image_size: int, width: int = 128) -> None:
        super().__init__()
        self.image_size = image_size
        self.base = -(-image_size // 8)
        self.width = width
        self.start = nn.Linear(code_dim + condition_dim, width * self.base * self.base)
        widths = (width, width // 2, width // 4)
        self.stages = nn.ModuleList(
            nn.Sequential(_to_pixels(a, b), nn.GroupNorm(min(4, b // 4), b), nn.GELU())
            for a, b in zip(widths[:-1], widths[1:], strict=True)
        )
        self.stages.append(_to_pixels(widths[-1], 3))

    def forward(self, code: Tensor, condition: Tensor, where: Tensor) -> Tensor:
        """``where`` (B, 4): left, top, right, bottom of the view in the original image, in [-1, 1]; left > right: flipped."""
        h = self.start(torch.cat([code, condition], dim=1)).view(len(code), self.width, self.base, self.base)
        h = nn.functional.gelu(h)
        for stage in self.stages:
            h = stage(torch.cat([h, _positions(where, h.shape[-1]).to(h.dtype)], dim=1))
        image: Tensor = h[:, :, : self.image_size, : self.image_size]
        return image


def _to_pixels(in_channels: int, out_channels: int) -> nn.Sequential:
    """(B, in + 2, S, S) -> (B, out, 2 S, 2 S)."""
    return nn.Sequential(nn.Conv2d(in_channels + 2, 4 * out_channels, 3, 1, 1), nn.PixelShuffle(2))


def _positions(where: Tensor, side: int) -> Tensor:
    """(B, 4) -> (B, 2, side, side): x and y of every pixel's centre in the original image."""
    t = (torch.arange(side, device=where.device, dtype=torch.float32) + 0.5) / side
    x = where[:, 0:1] + (where[:, 2:3] - where[:, 0:1]) * t
    y = where[:, 1:2] + (where[:, 3:4] - where[:, 1:2]) * t
    return torch.stack([x[:, None].expand(-1, side, -1), y[:, :, None].expand(-1, -1, side)], dim=1)
