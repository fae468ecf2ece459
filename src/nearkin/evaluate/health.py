"""Label-free health of an embedding: collapse, rank, uniformity, alignment."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.search.exact import unit_rows
from nearkin.vectors import sample_rows

RANKME_IMAGES = 25_600  # as in the RankMe paper
UNIFORMITY_IMAGES = 2048
DEAD = 0.01


@dataclass(frozen=True)
class Health:
    """Whether an embedding is alive, by numbers that need no labels.

    Attributes:
        std_mean, std_min: of the per-dimension standard deviations (divisor N), in the embedding's own units.
        dead_share: share of dimensions whose std is under 1 % of the root mean square of all entries, in [0, 1].
            The root mean square includes the mean: a tiny cloud far from 0 counts as dead, one around 0 does not
            (std_mean shows it). 1 for an all-zero embedding.
        rankme: effective rank, in [1, min(N, D)].
        uniformity: in [-8, 0], lower is more uniform; -4 for directions spread evenly over many dimensions.
        offdiag_energy: share of the squared covariance that lies off the diagonal, in [0, 1]; 0 for a constant embedding.
    """

    std_mean: float
    std_min: float
    dead_share: float
    rankme: float
    uniformity: float
    offdiag_energy: float


def _sample(Z: NDArray[np.float32], most: int) -> NDArray[np.float32]:
    """At most ``most`` rows, a fixed random choice: sets come sorted by class, so the first rows are no sample."""
    return Z if len(Z) <= most else Z[sample_rows(len(Z), most)]


def _rank_of(gram: NDArray[np.float64]) -> float:
    sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    total = float(sigma.sum())
    if total == 0:
        return 1.0
    p = sigma / total + 1e-7
    return float(min(np.exp(-(p * np.log(p)).sum()), len(sigma)))


def rankme(Z: NDArray[np.float32]) -> float:
    """RankMe: exp of the entropy of the normalised singular values of the uncentred Z (N, D).

    Garrido et al.: "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations by
    Their Rank", ICML 2023, equation 2, epsilon 1e-7. At most 25,600 rows. 1 for a zero matrix. The singular values
    are roots of the eigenvalues of the smaller Gram matrix, in float64 (right to about 1e-8 of the largest).
    """
    z = _sample(Z, RANKME_IMAGES).astype(np.float64)
    return _rank_of(z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T)


def uniformity(Z: NDArray[np.float32], t: float = 2.0) -> float:
    """log mean over pairs of exp(-t |z_i - z_j|^2), unit rows (Wang and Isola 2020, eq. 5).

    All pairs of at most 2,048 rows. 0 for fewer than 2 rows.
    """
    z = unit_rows(_sample(Z, UNIFORMITY_IMAGES)).astype(np.float64)
    norms = np.square(z).sum(axis=1)
    squared = np.maximum(norms[:, None] + norms[None] - 2 * z @ z.T, 0)
    upper = squared[np.triu_indices(len(z), 1)]
    return float(np.log(np.exp(-t * upper).mean())) if len(upper) else 0.0


def alignment(Z1: NDArray[np.float32], Z2: NDArray[np.float32]) -> float:
    """Mean squared distance of unit-length positive pairs (Wang and Isola 2020, eq. 4, alpha 2), in [0, 4]."""
    return float(np.square(unit_rows(Z1) - unit_rows(Z2)).sum(axis=1, dtype=np.float64).mean())


def health(Z: NDArray[np.float32]) -> Health:
    """All label-free numbers of Z (N, D), N >= 1, at most 25,600 rows of it."""
    z = _sample(Z, RANKME_IMAGES).astype(np.float64)
    n, d = z.shape
    mean = z.mean(axis=0)
    # Sums of products instead of means of squares: those would need another array as large.
    scale = float(np.sqrt(np.vdot(z, z) / z.size))
    z -= mean
    std = np.sqrt(np.einsum("nd,nd->d", z, z) / n)
    # One product serves the covariance and RankMe: Z'Z = Zc'Zc + n m m', and, for wide matrices,
    # |Zc'Zc| = |ZcZc'| (Frobenius), so that nothing larger than min(N, D) squared is built.
    if d <= n:
        inner = z.T @ z
        total = float(np.square(inner).sum())
        gram = inner + n * np.outer(mean, mean)
    else:
        inner = z @ z.T
        total = float(np.square(inner).sum())
        z += mean
        gram = z @ z.T
    diagonal = float(np.square(n * np.square(std)).sum())
    constant = float(std.max()) <= 1e-7 * scale  # float32 cannot tell it from rounding
    return Health(
        std_mean=float(std.mean()),
        std_min=float(std.min()),
        dead_share=float((std < DEAD * scale).mean()) if not constant else 1.0,
        rankme=_rank_of(gram),
        uniformity=uniformity(Z),
        offdiag_energy=min(1.0, max(0.0, 1 - diagonal / total)) if not constant else 0.0,
    )
