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

from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from nearkin.errors import ConfigError
from nearkin.methods.gather import check_projections, gather
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


class LeJEPATerms(NamedTuple):
    """The two unweighted terms, float32 scalars."""

    prediction: Tensor
    sigreg: Tensor


def lejepa_terms(*zs: Tensor, directions: Tensor) -> LeJEPATerms:
    """Projections (N, D) of two or more views and directions (D, S), scaled to unit length here -> the two terms."""
    whole = [z if z.dtype == torch.float64 else z.float() for z in zs]
    stacked = torch.stack(whole)
    prediction = (stacked - stacked.mean(dim=0)).square().mean()
    directions = directions / directions.norm(dim=0)
    return LeJEPATerms(prediction, torch.stack([sigreg(z, directions) for z in whole]).mean())


def random_directions(dim: int, slices: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
    """Random directions (dim, slices), standard normal, drawn on the generator's device (None: torch's global one)."""
    own = device if generator is None else generator.device
    return torch.randn((dim, slices), generator=generator, device=own).to(device)


def lejepa_loss(
    *zs: Tensor, sigreg_weight: float = 0.02, slices: int = 256, generator: torch.Generator | None = None
) -> Tensor:
    """LeJEPA of the projections of two or more views: a scalar with gradient, float32 (float64 for float64 input).

    With m_i the mean over views of image i's projections, and SIGReg the Epps-Pulley statistic of ``slices`` random
    one-dimensional projections against the standard normal (:func:`sigreg`), averaged over views::

        loss = (1 - sigreg_weight) * mean (m_i - z_vi)^2 + sigreg_weight * SIGReg

    Balestriero, LeCun: "LeJEPA: Provable and Scalable Self-Supervised Learning Without the Heuristics", 2025.

    Args:
        zs: (N, D) floating point each; row i of all comes from the same image. Not gathered across processes.
        sigreg_weight: in [0, 1]. generator: of the directions; None for torch's global one.
    Raises:
        ConfigError: shapes that differ or are not (N, D), fewer than 2 views, illegal values.
    """
    check_projections("lejepa_loss", *zs)
    if not 0 <= sigreg_weight <= 1:
        raise ConfigError(f"sigreg_weight is {sigreg_weight}; it must lie in [0, 1].")
    if slices < 1:
        raise ConfigError(f"slices is {slices}; it must be at least 1.")
    terms = lejepa_terms(*zs, directions=random_directions(zs[0].shape[1], slices, zs[0].device, generator))
    return (1 - sigreg_weight) * terms.prediction + sigreg_weight * terms.sigreg


class LeJEPAMethod(JointEmbedding):
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
        whole = [gather(z) for z in zs]
        directions = random_directions(whole[0].shape[1], self.settings["slices"], whole[0].device, rng)
        terms = lejepa_terms(*whole, directions=directions)
        weight = self.settings["sigreg_weight"]
        loss = (1 - weight) * terms.prediction + weight * terms.sigreg
        return loss, {name: term.detach() for name, term in terms._asdict().items()}
