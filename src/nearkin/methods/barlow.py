"""Barlow Twins: the cross-correlation of two views should be the identity.

Zbontar, Jing, Misra, LeCun, Deny: "Barlow Twins: Self-Supervised Learning via Redundancy Reduction", ICML 2021,
equations 1 and 2. With Z, Z' standardised per dimension over the batch and C = Z' Z / N:

    loss = sum_i (1 - C_ii)^2 + lambda * sum_{i != j} C_ij^2

Deviations: none in the loss. Like VICReg's covariance term it removes correlations, but between views and after
standardisation, so the scale of the features is free. Both views share one pass, so the projector's BatchNorm sees both.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from nearkin.methods.gather import check_projections, gather
from nearkin.methods.joint import JointEmbedding


def barlow_terms(z1: Tensor, z2: Tensor) -> tuple[Tensor, Tensor]:
    """(N, D) projections of two views -> (sum of (1 - C_ii)^2, sum of squared off-diagonal C_ij), float32."""
    with torch.autocast(z1.device.type, enabled=False):
        a, b = (_standardize(z if z.dtype == torch.float64 else z.float()) for z in (z1, z2))
        c = a.T @ b / len(a)
        diagonal = c.diagonal()
        return (1 - diagonal).square().sum(), c.square().sum() - diagonal.square().sum()


def _standardize(z: Tensor) -> Tensor:
    # As BatchNorm without affine parameters: biased variance, epsilon 1e-5.
    return (z - z.mean(dim=0)) / torch.sqrt(z.var(dim=0, unbiased=False) + 1e-5)


def barlow_twins_loss(za: Tensor, zb: Tensor, *, redundancy_weight: float = 0.0051) -> Tensor:
    """Barlow Twins of two views' projections: a scalar with gradient, float32 (float64 for float64 input).

    With C = A' B / N of the projections standardised per dimension (biased variance + 1e-5, as BatchNorm does)::

        loss = sum_i (1 - C_ii)^2 + redundancy_weight * sum_{i != j} C_ij^2

    Zbontar, Jing, Misra, LeCun, Deny: "Barlow Twins", ICML 2021, equations 1 and 2.

    Args:
        za, zb: (N, D) floating point, N >= 2; row i of both comes from the same image. Not gathered across processes.
    Raises:
        ConfigError: shapes that differ or are not (N, D), or fewer than 2 rows.
    """
    check_projections("barlow_twins_loss", za, zb, rows=2)
    on, off = barlow_terms(za, zb)
    return on + redundancy_weight * off


class BarlowTwinsMethod(JointEmbedding):
    """Barlow Twins. Settings: those of JointEmbedding and of training, and redundancy_weight (lambda, 0.0051).

    loss_scale multiplies the loss (0.1 is usual on CIFAR); with Adam-like optimisers it changes next to nothing.
    """

    most_views = 2
    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {"redundancy_weight": 0.0051, "loss_scale": 0.1}

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        on, off = barlow_terms(gather(zs[0]), gather(zs[1]))
        loss = self.settings["loss_scale"] * (on + self.settings["redundancy_weight"] * off)
        return loss, {"on_diagonal": on.detach(), "off_diagonal": off.detach()}
