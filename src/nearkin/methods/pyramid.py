"""Laplacian-pyramid L1: a reconstruction loss that sees edges at several scales.

Bojanowski, Joulin, Lopez-Paz, Szlam: "Optimizing the Latent Space of Generative Networks" (GLO), ICML 2018, equation 3:
sum_j 2^(2j) |L_j(x) - L_j(x')|_1 with L_j the j-th level. Level j has 4^-j as many pixels, so the factor makes every
level's mean count alike; here the sum of the levels' means is used, which is that divided by the number of pixels.
"""

from __future__ import annotations

import torch
from torch import Tensor


def laplacian_pyramid(x: Tensor, levels: int = 3) -> list[Tensor]:
    """(B, C, H, W) -> ``levels`` band-pass images and the remaining low-pass one, by 2x2 means and bilinear expansion."""
    out = []
    for _ in range(levels):
        if min(x.shape[-2:]) < 2:
            break
        low = torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True)
        expanded = torch.nn.functional.interpolate(low, size=x.shape[-2:], mode="bilinear", align_corners=False)
        out.append(x - expanded)
        x = low
    return [*out, x]


def pyramid_l1(a: Tensor, b: Tensor, levels: int = 3) -> Tensor:
    """Per image, (B,): the sum over levels of the mean absolute difference. The pyramid is linear, so once is enough."""
    difference = laplacian_pyramid(a.float() - b.float(), levels)
    return torch.stack([level.abs().mean(dim=(1, 2, 3)) for level in difference]).sum(dim=0)
