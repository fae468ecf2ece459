"""A first convolution that starts from the images' own statistics instead of random kernels.

The principal axes of small patches, as in the patch-whitening layer of Page ("How to train your ResNet", part 8, 2019) and
Jordan ("94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024), each with both signs, so that the ReLU behind them loses
nothing. Deviations: the axes are not scaled by their spread (BatchNorm does that), and training changes them like any kernel.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from nearkin.errors import ConfigError

STEMS = ("random", "axes")
_PATCHES = 500_000  # bounds the memory for large images


@torch.no_grad()
def set_axes(encoder: nn.Module, images: Tensor) -> None:
    """Let the first convolution's kernels be the principal axes of patches, the widest spread first, in place.

    With O kernels of K numbers, min(O / 2, K) axes are used; kernels beyond those keep their random start.

    Args:
        images: float32 (N, 3, S, S), normalised as at the net's entrance; a thousand or two suffice, in any order.
    Raises:
        ConfigError: the encoder does not begin with an ordinary convolution of three channels.
    """
    conv = next((module for module in encoder.modules() if isinstance(module, nn.Conv2d)), None)
    if conv is None or conv.in_channels != 3 or conv.groups != 1 or conv.dilation != (1, 1):
        raise ConfigError(
            "stem=axes needs an encoder that begins with an ordinary convolution of 3 channels; use stem=random."
        )
    (height, width), (down, right) = conv.kernel_size, conv.stride
    each = ((images.shape[2] - height) // down + 1) * ((images.shape[3] - width) // right + 1)
    some = images[:: -(-len(images) * each // _PATCHES)]
    patches = nn.functional.unfold(some, (height, width), stride=(down, right)).transpose(1, 2).flatten(0, 1)
    axes = torch.linalg.eigh(torch.cov(patches.T))[1].flip(1).T[: conv.out_channels // 2]
    signed = torch.cat([axes, -axes]).view(-1, *conv.weight.shape[1:])
    conv.weight[: len(signed)] = signed.to(conv.weight)
