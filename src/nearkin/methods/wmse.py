"""W-MSE: whiten each view's batch, then pull positives together.

Ermolov, Siarohin, Sangineto, Sebe: "Whitening for Self-Supervised Representation Learning", ICML 2021, equations 3 to 6.
Within random sub-batches of w_size images, each view is whitened by the inverse Cholesky factor of its covariance
(identity covariance afterwards), and

    loss = mean over images of |w_1 / |w_1| - w_2 / |w_2||^2

averaged over w_iter random partitions. Whitening replaces VICReg's variance and covariance terms by a hard constraint.
Deviations: a ridge of 1e-4 times the mean variance keeps the factor real; images that fill no sub-batch are left out.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from nearkin.errors import ConfigError
from nearkin.methods.gather import check_projections, gather
from nearkin.methods.joint import JointEmbedding, JointNet

RIDGE = 1e-4


def whiten(z: Tensor) -> Tensor:
    """(N, D), N > D -> (N, D) with mean 0 and covariance (divisor N - 1) equal to the identity up to the ridge."""
    z = z - z.mean(dim=0)
    covariance = z.T @ z / (len(z) - 1)
    ridge = RIDGE * covariance.diagonal().mean().detach() + torch.finfo(z.dtype).tiny
    eye = torch.eye(z.shape[1], dtype=z.dtype, device=z.device)
    factor, failed = torch.linalg.cholesky_ex(covariance + ridge * eye)
    factor = torch.where(failed == 0, factor, torch.nan)  # the loop reports a non-finite loss; an exception would not
    out: Tensor = torch.linalg.solve_triangular(factor, z.T, upper=False).T
    return out


def wmse(z1: Tensor, z2: Tensor, order: Tensor, w_size: int) -> Tensor:
    """Loss of one partition: ``order`` int64 (N,) is cut into sub-batches of ``w_size``. float32 scalar."""
    with torch.autocast(z1.device.type, enabled=False):
        a, b = (z if z.dtype == torch.float64 else z.float() for z in (z1, z2))
        parts = []
        for k in range(len(order) // w_size):
            rows = order[k * w_size : (k + 1) * w_size]
            u, v = (torch.nn.functional.normalize(whiten(z[rows]), dim=1) for z in (a, b))
            parts.append((u - v).square().sum(dim=1).mean())
        return torch.stack(parts).mean()


def _over_partitions(za: Tensor, zb: Tensor, w_size: int, w_iter: int, generator: torch.Generator | None) -> Tensor:
    device = za.device if generator is None else generator.device
    orders = (torch.randperm(len(za), generator=generator, device=device).to(za.device) for _ in range(w_iter))
    return torch.stack([wmse(za, zb, order, w_size) for order in orders]).mean()


def wmse_loss(
    za: Tensor, zb: Tensor, *, w_size: int = 128, w_iter: int = 1, generator: torch.Generator | None = None
) -> Tensor:
    """W-MSE of two views' projections: a scalar with gradient, float32 (float64 for float64 input).

    Within random sub-batches of ``w_size`` images each view is whitened by the inverse Cholesky factor of its covariance
    (plus 1e-4 times the mean variance), and with w the whitened rows scaled to unit length::

        loss = mean over images of |wa - wb|^2, averaged over ``w_iter`` random partitions

    Ermolov, Siarohin, Sangineto, Sebe: "Whitening for Self-Supervised Representation Learning", ICML 2021, equations 3 to 6.

    Args:
        za, zb: (N, D) floating point; row i of both comes from the same image. Not gathered across processes.
        w_size: D < w_size <= N; images that fill no sub-batch are left out.
        generator: of the partitions; None for torch's global one.
    Raises:
        ConfigError: shapes that differ or are not (N, D), or sizes that do not fit.
    """
    check_projections("wmse_loss", za, zb)
    if not za.shape[1] < w_size <= len(za):
        raise ConfigError(f"wmse_loss needs D < w_size <= N; got D {za.shape[1]}, w_size {w_size}, N {len(za)}.")
    if w_iter < 1:
        raise ConfigError(f"w_iter is {w_iter}; it must be at least 1.")
    return _over_partitions(za, zb, w_size, w_iter, generator)


class WMSEMethod(JointEmbedding):
    """W-MSE. Settings: those of JointEmbedding and of training, out_dim, w_size (images per whitening) and w_iter.

    ``out_dim`` replaces the projector's last width; it must be below w_size (the paper: 64 and 128 on CIFAR-10).
    """

    most_views = 2
    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {
        "out_dim": 64,
        "w_size": 128,
        "w_iter": 1,
    }

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        super().__init__(settings, image_shape)
        s = self.settings
        if not 1 <= s["out_dim"] < s["w_size"] <= s["batch_size"]:
            raise ConfigError(
                f"W-MSE whitens {s['out_dim']} dimensions with w_size {s['w_size']} images of a batch of {s['batch_size']}; "
                "it needs out_dim < w_size <= batch_size, e.g. out_dim=64 and w_size=128."
            )

    def make_net(self) -> JointNet:
        s = self.settings
        return JointNet(s["encoder"], (*s["projector"][:-1], s["out_dim"]), self.image_size)

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        z1, z2 = gather(zs[0]), gather(zs[1])
        size = min(self.settings["w_size"], len(z1))  # held-out batches may be smaller
        loss = _over_partitions(z1, z2, size, self.settings["w_iter"], rng)
        return loss, {"whitened_mse": loss.detach()}
