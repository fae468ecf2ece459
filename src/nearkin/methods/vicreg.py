"""VICReg: variance-invariance-covariance regularisation.

Bardes, Ponce, LeCun: "VICReg: Variance-Invariance-Covariance Regularization for Self-Supervised Learning",
ICLR 2022, equations 1 to 6. With Z and Z' (N, D) the projections of two views of N images:

    s(Z, Z') = mean over images of |z_i - z'_i|^2                       invariance  (eq. 5)
    v(Z)     = mean over dimensions of max(0, gamma - sqrt(Var(z_j) + epsilon))     (eq. 1, 2)
    c(Z)     = sum over i != j of C(Z)_ij^2 / D, C with divisor N - 1   covariance  (eq. 3, 4)

The paper and the authors' code weigh these differently, so the same "25 / 25 / 1" is two objectives:

    convention   invariance                variance            covariance
    "paper"      summed over D             v(Z) + v(Z')        c(Z) + c(Z')
    "official"   averaged over D           (v(Z) + v(Z')) / 2  c(Z) + c(Z')

Deviation: none in the loss. Both views pass through the net in one batch, so BatchNorm sees the statistics of
2N rows; the authors' code makes two passes.
"""

from __future__ import annotations

from itertools import combinations
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from nearkin.errors import ConfigError, unknown
from nearkin.methods.gather import check_projections, gather
from nearkin.methods.joint import JointEmbedding

CONVENTIONS = ("official", "paper")


class VICRegTerms(NamedTuple):
    """The three unweighted terms, float32 scalars."""

    invariance: Tensor
    variance: Tensor
    covariance: Tensor


def _variance(z: Tensor, gamma: float, epsilon: float) -> Tensor:
    return torch.relu(gamma - torch.sqrt(z.var(dim=0) + epsilon)).mean()


def _covariance(z: Tensor) -> Tensor:
    n, d = z.shape
    z = z - z.mean(dim=0)
    cov = z.T @ z / (n - 1)
    return (cov.square().sum() - cov.diagonal().square().sum()) / d


def vicreg_terms(*zs: Tensor, gamma: float = 1.0, epsilon: float = 1e-4, convention: str = "official") -> VICRegTerms:
    """The three terms of VICReg for projections (N, D), N >= 2, of two or more views of N images.

    With more than two views, the invariance term is the mean over all pairs of views, and variance and covariance
    are means over views times two, so that the weights keep their meaning.
    Statistics are computed in float32 (float64 input stays float64) whatever the surrounding autocast.

    Raises:
        ConfigError: unknown convention, fewer than 2 views, or fewer than 2 rows (no variance exists).
    """
    if convention not in CONVENTIONS:
        raise unknown("VICReg convention", convention, CONVENTIONS)
    if len(zs) < 2:
        raise ConfigError(f"VICReg needs at least 2 views; got {len(zs)}.")
    if len(zs[0]) < 2:
        raise ConfigError(f"VICReg needs at least 2 images in a batch to estimate a variance; got {len(zs[0])}.")
    with torch.autocast(zs[0].device.type, enabled=False):
        if zs[0].dtype != torch.float64:
            zs = tuple(z.float() for z in zs)
        pairs = list(combinations(zs, 2))
        difference = torch.stack([(a - b).square() for a, b in pairs]).mean(dim=0)
        variance = 2 * torch.stack([_variance(z, gamma, epsilon) for z in zs]).mean()
        covariance = 2 * torch.stack([_covariance(z) for z in zs]).mean()
        if convention == "official":
            return VICRegTerms(difference.mean(), variance / 2, covariance)
        return VICRegTerms(difference.sum(dim=1).mean(), variance, covariance)


def vicreg_loss(
    za: Tensor,
    zb: Tensor,
    *,
    invariance_weight: float = 25.0,
    variance_weight: float = 25.0,
    covariance_weight: float = 1.0,
    gamma: float = 1.0,
    epsilon: float = 1e-4,
    convention: str = "official",
) -> Tensor:
    """VICReg of two views' projections: the weighted sum of :func:`vicreg_terms`, a scalar with gradient.

    With d_i = za_i - zb_i, s_j(Z) = sqrt(Var(z_j) + epsilon) (divisor N - 1) and C(Z) the covariance matrix::

        convention "official" (the authors' code):
            invariance = mean over i, j of d_ij^2
            variance   = 1/2 * sum over Z in (za, zb) of mean over j of max(0, gamma - s_j(Z))
            covariance = sum over Z of (sum over j != k of C(Z)_jk^2) / D
        convention "paper" (equations 1 to 6): invariance is summed over j, and variance has no factor 1/2.

    The same weights are therefore two objectives; "paper" is weaker on variance by 2 and stronger on invariance by D, when
    the weights are kept. Bardes, Ponce, LeCun: "VICReg", ICLR 2022; code: https://github.com/facebookresearch/vicreg.

    Args:
        za, zb: (N, D) floating point, N >= 2, on one device; row i of both comes from the same image. Statistics are
            computed in float32 (float64 stays), whatever the surrounding autocast. The batch is the process's own: under
            data parallelism, gather the projections (with gradients) before.
        gamma: target standard deviation. epsilon: added to the variance under the root.
    Returns:
        A scalar, float32 (float64 for float64 input).
    Raises:
        ConfigError: shapes that differ or are not (N, D), fewer than 2 rows, an unknown convention.
    """
    check_projections("vicreg_loss", za, zb)
    terms = vicreg_terms(za, zb, gamma=gamma, epsilon=epsilon, convention=convention)
    return (
        invariance_weight * terms.invariance + variance_weight * terms.variance + covariance_weight * terms.covariance
    )


class VICRegMethod(JointEmbedding):
    """VICReg on augmented views. Settings: those of JointEmbedding and of training, and the following.

    invariance_weight, variance_weight, covariance_weight: 25, 25, 1 in the paper; any may be 0.
    gamma: target standard deviation per dimension. epsilon: added to the variance under the root.
    convention: "official" or "paper", see the module's text.
    n_views: 2 in the paper; more views per image and fewer images per step, in the spirit of EMP-SSL (Tong et al.
        2023), whose own loss (total coding rate) is not used here.
    """

    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults | {
        "invariance_weight": 25.0,
        "variance_weight": 25.0,
        "covariance_weight": 1.0,
        "gamma": 1.0,
        "epsilon": 1e-4,
        "convention": "official",
    }

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        super().__init__(settings, image_shape)
        if self.settings["convention"] not in CONVENTIONS:  # told now, not after the methods that come before
            raise unknown("VICReg convention", self.settings["convention"], CONVENTIONS)

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.settings
        terms = vicreg_terms(
            *(gather(z) for z in zs), gamma=s["gamma"], epsilon=s["epsilon"], convention=s["convention"]
        )
        weighted = {name: s[f"{name}_weight"] * term for name, term in terms._asdict().items()}
        loss = torch.stack(list(weighted.values())).sum()
        logged = terms._asdict() | {f"weighted_{name}": value for name, value in weighted.items()}
        return loss, {name: value.detach() for name, value in logged.items()}
