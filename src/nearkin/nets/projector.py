"""The projector: the MLP between the representation and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from nearkin.errors import ConfigError

_MOST = 2**30


def projector(in_features: int, widths: Sequence[int]) -> nn.Sequential:
    """Linear-BatchNorm-ReLU for every width but the last, which is a plain linear layer without bias.

    ``widths=(2048, 2048, 2048)`` is the projector of the VICReg code (Bardes et al. 2022, section 4.2).
    Maps (B, in_features) to (B, widths[-1]).

    Raises:
        ConfigError: no widths, one below 1, or more than 2^30 weights (the largest published have some 10^8).
    """
    weights = sum(a * b for a, b in pairwise((in_features, *widths)))
    if not widths or min(widths) < 1 or weights > _MOST:
        raise ConfigError(
            f"projector is {','.join(map(str, widths)) or 'empty'}; it needs at least one width, each at least 1, and at "
            f"most {_MOST:,} weights, e.g. 1024,1024."
        )
    layers: list[nn.Module] = []
    previous = in_features
    for width in widths[:-1]:
        layers += [nn.Linear(previous, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(inplace=True)]
        previous = width
    layers.append(nn.Linear(previous, widths[-1], bias=False))
    return nn.Sequential(*layers)
