"""From pixels to vectors in one module, for other runtimes: scaling and normalisation are inside."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class PixelEncoder(nn.Module):
    """uint8 (B, 3, S, S) -> float32 (B, D): normalisation, a copy of the net, one layer.

    Args:
        net: with ``layers(x)``, vectors by name. mean, std: of the channels, of pixels in [0, 1].
    """

    mean: Tensor
    std: Tensor

    def __init__(self, net: nn.Module, layer: str, mean: tuple[float, ...], std: tuple[float, ...]) -> None:
        super().__init__()
        # Archives hold plain arrays: weights laid out channels-last would be written as slices of something larger.
        self.net = copy.deepcopy(net).to(memory_format=torch.contiguous_format)
        self.layer = layer
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Vectors of images."""
        x = (images.to(torch.float32) / 255 - self.mean) / self.std
        out: Tensor = self.net.layers(x)[self.layer]  # type: ignore[operator]
        return out
