"""The projector: the MLP between the representation and the loss."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn


def projector(in_features: int, widths: Sequence[int]) -> nn.Sequential:
    """Linear-BatchNorm-ReLU for every width but the last, which is a plain linear layer without bias.

    ``widths=(2048, 2048, 2048)`` is the projector of the VICReg code (Bardes et al. 2022, section 4.2).
    Maps (B, in_features) to (B, widths[-1]).
    """
    layers: list[nn.Module] = []
    previous = in_features
    for width in widths[:-1]:
        layers += [nn.Linear(previous, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        previous = width
    layers.append(nn.Linear(previous, widths[-1], bias=False))
    return nn.Sequential(*layers)
