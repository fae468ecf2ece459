"""LeJEPA: views agree with their mean, and the embedding's distribution is pushed to an isotropic Gaussian (SIGReg).

Balestriero, LeCun: "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics", 2025. With V views'
projections z_v and their mean over views m:

    prediction = mean over views, images and dimensions of (m - z_v)^2
    SIGReg(Z)  = mean over random unit directions a of  N * integral w(t) |phi_hat(t) - exp(-t^2 / 2)|^2 dt

where phi_hat is the empirical characteristic function of the N values a . z_i and w(t) = exp(-t^2 / 2): the Epps-Pulley
statistic of each projection against the standard normal. loss = (1 - lambda) * prediction + lambda * SIGReg, the latter
averaged over views. SIGReg replaces VICReg's variance and covariance terms, which look at two moments only.

Deviations: the integral is the trapezoid rule with 17 knots on [-3, 3] (the integrand is even, so [0, 3] twice); the
paper's larger domain changes the value by less than 2 % because the weight has died out.
"""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from nearkin.errors import ConfigError
from nearkin.methods.gather import gather
from nearkin.methods.joint import JointEmbedding, JointNet

KNOTS, REACH = 17, 3.0


def epps_pulley(x: Tensor) -> Tensor:
    """N times the weighted squared distance of characteristic functions, per column: x (N, S) -> (S,)."""
    t = torch.linspace(0, REACH, KNOTS, dtype=x.dtype, device=x.device)
    weights = torch.full_like(t, 2 * REACH / (KNOTS - 1))  # twice: the integrand is even
    weights[0] = weights[-1] = REACH / (KNOTS - 1)
    gaussian = torch.exp(-t.square() / 2)
    angles = x.unsqueeze(-1) * t
    real, imaginary = angles.cos().mean(dim=0), angles.sin().mean(dim=0)
    gap = (real - gaussian).square() + imaginary.square()
    return len(x) * (gap * (weights * gaussian)).sum(dim=-1)


def sigreg(z: Tensor, directions: Tensor) -> Tensor:
    """Projections (N, D) and unit directions (D, S) -> scalar, float32."""
    with torch.autocast(z.device.type, enabled=False):
        z = z if z.dtype == torch.float64 else z.float()
        return epps_pulley(z @ directions.to(z.dtype)).mean()


class LeJEPA(JointEmbedding):
    """LeJEPA. Settings: those of JointEmbedding and of training, sigreg_weight (lambda, in [0, 1]), slices (S), out_dim.

    ``out_dim`` replaces the projector's last width: random directions cover few dimensions better than many.
    """

    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {
        "out_dim": 64,
        "sigreg_weight": 0.02,
        "slices": 256,
    }

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        super().__init__(settings, image_shape)
        if not 0 <= self.settings["sigreg_weight"] <= 1:
            raise ConfigError(f"sigreg_weight is {self.settings['sigreg_weight']}; it must lie in [0, 1].")
        if self.settings["out_dim"] < 1 or self.settings["slices"] < 1:
            raise ConfigError("out_dim and slices must be at least 1.")

    def make_net(self) -> JointNet:
        s = self.settings
        return JointNet(s["encoder"], (*s["projector"][:-1], s["out_dim"]), self.image_size)

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        whole = [gather(z).float() for z in zs]
        stacked = torch.stack(whole)
        prediction = (stacked - stacked.mean(dim=0)).square().mean()
        shape = (stacked.shape[-1], self.settings["slices"])
        directions = torch.randn(shape, generator=rng, device=rng.device).to(stacked.device)
        directions = directions / directions.norm(dim=0)
        gaussianity = torch.stack([sigreg(z, directions) for z in whole]).mean()
        weight = self.settings["sigreg_weight"]
        loss = (1 - weight) * prediction + weight * gaussianity
        return loss, {"prediction": prediction.detach(), "sigreg": gaussianity.detach()}
