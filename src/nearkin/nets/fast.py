"""A small residual net shaped for CPUs: a strided patch stem keeps every stage compute-bound.

Most of the time of a small-image ResNet on a CPU goes into memory traffic at full resolution. Here the stem
reads overlapping patches at stride S/16 (or S/8), so the first stage already works on 16 x 16 (8 x 8) positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

_AT_ONCE = 1024


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm, and a projected shortcut where shape changes. (B, C, H, W) -> same rank."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def pool(x: Tensor) -> Tensor:
    """Global average: (B, C, H, W) -> (B, C).

    Channels-last maps are read as they lie in memory, and so is the gradient written: torch's own average over the last two
    dimensions hands back a gradient in the other layout, on which the ReLU before it spends 19 instead of 0.7 ms (LOG.md).
    """
    return x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def _widening(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class FastNet(nn.Module):
    """Patch stem to P x P positions, one block per width at P, P/2, P/4, ... positions, global average pooling.

    Args:
        image_size: S, side of the square input in pixels (at least 8).
        widths: channels of each stage.
        positions: P, about the side of the first stage's maps: the stem's stride is S / P, rounded.
        features: F, feature width. Where it exceeds the last stage's, 1x1 convolutions of at most 1,024 channels widen the last
            map before pooling: a wide feature vector helps linear rules and costs far less than a wide stage. One convolution
            for all of 4,096 channels is slower: its maps do not fit in any cache, and the system takes memory of
            more than 32 MB away and hands it out anew, page by page, in each step.
    Shapes: (B, 3, S, S) -> (B, F).
    """

    def __init__(self, image_size: int, widths: Sequence[int], features: int, positions: int = 16) -> None:
        super().__init__()
        stride = max(1, round(image_size / positions))
        kernel = 2 * stride if stride > 1 else 3
        stem = nn.Conv2d(3, widths[0], kernel, stride, (kernel - stride) // 2 if stride > 1 else 1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        blocks = [Block(widths[0], widths[0], 1)]
        blocks += [Block(a, b, 2) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        self.blocks = nn.Sequential(*blocks)
        self.widen: nn.Module = nn.Identity()
        self.wider = nn.ModuleList()
        if features != widths[-1]:
            self.widen = _widening(widths[-1], min(features, _AT_ONCE))
            rest = range(_AT_ONCE, features, _AT_ONCE)
            self.wider.extend(_widening(widths[-1], min(_AT_ONCE, features - start)) for start in rest)
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        maps = self.blocks(self.stem(x))
        return torch.cat([pool(widen(maps)) for widen in (self.widen, *self.wider)], dim=1)
