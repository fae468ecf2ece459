"""SimCLR: each view should find the other view of its image among all others of the batch.

Chen, Kornblith, Norouzi, Hinton: "A Simple Framework for Contrastive Learning of Visual Representations", ICML 2020,
equation 1 (NT-Xent). For 2N unit vectors z with positives i, j(i):

    loss = mean_i  -log( exp(z_i . z_j(i) / tau) / sum_{k != i} exp(z_i . z_k / tau) )

Deviations: none in the loss; tau 0.5, the paper's best on CIFAR-10 (its section B.9).
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from nearkin.errors import ConfigError
from nearkin.methods.gather import check_projections, gather
from nearkin.methods.joint import JointEmbedding


def nt_xent_loss(za: Tensor, zb: Tensor, *, temperature: float = 0.5) -> Tensor:
    """NT-Xent (SimCLR, InfoNCE) of two views' projections: a scalar with gradient, float32 (float64 for float64 input).

    For the 2N unit vectors z of both views, with j(i) the other view of the image of i::

        loss = mean_i  -log( exp(z_i . z_j(i) / temperature) / sum_{k != i} exp(z_i . z_k / temperature) )

    Chen, Kornblith, Norouzi, Hinton: "A Simple Framework for Contrastive Learning", ICML 2020, equation 1.

    Args:
        za, zb: (N, D) floating point, N >= 2; row i of both comes from the same image. Not gathered across processes.
        temperature: above 0.
    Raises:
        ConfigError: shapes that differ or are not (N, D), fewer than 2 rows, an illegal temperature.
    """
    check_projections("nt_xent_loss", za, zb, rows=2)
    if not temperature > 0:
        raise ConfigError(f"temperature is {temperature}; it must be greater than 0.")
    return nt_xent(za, zb, temperature)


def nt_xent(z1: Tensor, z2: Tensor, temperature: float) -> Tensor:
    """:func:`nt_xent_loss` without its checks."""
    with torch.autocast(z1.device.type, enabled=False):
        z = torch.nn.functional.normalize(torch.cat([z1, z2]).to(torch.promote_types(z1.dtype, torch.float32)), dim=1)
        n = len(z1)
        similarity = z @ z.T / temperature
        similarity.fill_diagonal_(float("-inf"))  # an image is no negative of itself
        target = torch.arange(2 * n, device=z.device).roll(n)
        return torch.nn.functional.cross_entropy(similarity, target)


class SimCLRMethod(JointEmbedding):
    """SimCLR. Settings: those of JointEmbedding and of training, and temperature (above 0)."""

    most_views = 2
    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {"temperature": 0.5}

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        super().__init__(settings, image_shape)
        if not self.settings["temperature"] > 0:
            raise ConfigError(f"temperature is {self.settings['temperature']}; it must be greater than 0.")

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        loss = nt_xent(gather(zs[0]), gather(zs[1]), self.settings["temperature"])
        return loss, {"contrast": loss.detach()}
