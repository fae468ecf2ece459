"""Label-free health of an embedding: collapse, rank, uniformity, alignment."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.neighbors import unit_rows

RANKME_IMAGES = 25_600  # as in the RankMe paper
_UNIFORMITY_IMAGES = 2048
_DEAD = 0.01  # a dimension is dead when its std is under 1 % of the largest


@dataclass(frozen=True)
class Health:
    """Attributes:
    std_mean, std_min: of the per-dimension standard deviations.
    dead_share: share of dimensions with std under 1 % of the largest, in [0, 1]; 1 when all are constant.
    rankme: effective rank in [1, D].
    uniformity: in [-4, 0], lower is more uniform.
    offdiag_energy: share of the squared covariance outside the diagonal, in [0, 1].
    """

    std_mean: float
    std_min: float
    dead_share: float
    rankme: float
    uniformity: float
    offdiag_energy: float

    def to_dict(self) -> dict[str, float]:
        """JSON-able."""
        return asdict(self)


def rankme(Z: NDArray[np.float32]) -> float:
    """RankMe: exp of the entropy of the normalised singular values of the uncentred Z (N, D).

    Garrido et al.: "RankMe: Assessing the Downstream Performance of Pretrained Self-Supervised Representations by
    Their Rank", ICML 2023, equation 2. At most the first 25,600 rows. 1 for a zero matrix. Singular values come
    from the Gram matrix, in float64.
    """
    z = Z[:RANKME_IMAGES].astype(np.float64)
    gram = z.T @ z if z.shape[1] <= z.shape[0] else z @ z.T
    sigma = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0))
    if sigma.sum() == 0:
        return 1.0
    p = sigma / sigma.sum() + 1e-7
    return float(min(np.exp(-(p * np.log(p)).sum()), *z.shape))


def uniformity(Z: NDArray[np.float32], t: float = 2.0) -> float:
    """log mean over pairs of exp(-t |z_i - z_j|^2), unit rows (Wang and Isola 2020, eq. 5); first 2,048 rows."""
    z = unit_rows(Z[:_UNIFORMITY_IMAGES]).astype(np.float64)
    squared = np.maximum(2 - 2 * z @ z.T, 0)
    upper = squared[np.triu_indices(len(z), 1)]
    return float(np.log(np.exp(-t * upper).mean())) if len(upper) else 0.0


def alignment(Z1: NDArray[np.float32], Z2: NDArray[np.float32]) -> float:
    """Mean squared distance of unit-length positive pairs (Wang and Isola 2020, eq. 4), in [0, 4]."""
    return float(np.square(unit_rows(Z1) - unit_rows(Z2)).sum(axis=1).mean())


def health(Z: NDArray[np.float32]) -> Health:
    """All label-free numbers of Z (N, D), N >= 2."""
    std = Z.std(axis=0, dtype=np.float64)
    top = float(std.max())
    covariance = np.cov(Z.astype(np.float64), rowvar=False).reshape(Z.shape[1], Z.shape[1])
    total = float(np.square(covariance).sum())
    off = total - float(np.square(np.diagonal(covariance)).sum())
    return Health(
        std_mean=float(std.mean()),
        std_min=float(std.min()),
        dead_share=float((std < _DEAD * top).mean()) if top > 0 else 1.0,
        rankme=rankme(Z),
        uniformity=uniformity(Z),
        offdiag_energy=max(0.0, off / total) if total > 0 else 0.0,
    )
