"""Losses for other people's training loops: functions of projections, without nets, views or optimisers.

from nearkin.losses import vicreg_loss
loss = vicreg_loss(net(view_a), net(view_b))
loss.backward()
"""

from __future__ import annotations

from torch import Tensor

from nearkin.errors import ConfigError
from nearkin.methods.vicreg import CONVENTIONS, VICRegTerms, vicreg_terms

__all__ = ["CONVENTIONS", "VICRegTerms", "vicreg_loss", "vicreg_terms"]


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
    if za.ndim != 2 or za.shape != zb.shape:
        raise ConfigError(
            f"vicreg_loss needs two views of one shape (N, D); got {tuple(za.shape)} and {tuple(zb.shape)}."
        )
    if not (za.is_floating_point() and zb.is_floating_point()):
        raise ConfigError(f"vicreg_loss needs floating point; got {za.dtype} and {zb.dtype}.")
    terms = vicreg_terms(za, zb, gamma=gamma, epsilon=epsilon, convention=convention)
    return (
        invariance_weight * terms.invariance + variance_weight * terms.variance + covariance_weight * terms.covariance
    )
