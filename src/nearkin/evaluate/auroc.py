"""Area under the ROC curve with an interval over images, by DeLong's method."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from nearkin.errors import DataError

DELONG = "DeLong 95% over images"
EXACT = "exact 95% bound over disjoint pairs (DeLong's variance is 0 at 0 and 1)"


@dataclass(frozen=True)
class Auroc:
    """Attributes:
    value: chance that an out image scores above an in image, ties count half; in [0, 1].
    interval: 95 % interval over images, for this one embedding. interval_kind: how it was made.
    """

    value: float
    interval: tuple[float, float]
    interval_kind: str
    n_in: int
    n_out: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-able, with the key "AUROC"."""
        return {
            "AUROC": self.value,
            "interval": list(self.interval),
            "interval_kind": self.interval_kind,
            "n_in": self.n_in,
            "n_out": self.n_out,
        }


def check_scores(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> None:
    """Raise DataError unless both are non-empty (n,) without NaN or infinity."""
    for name, values in (("in-distribution", inside), ("out-of-distribution", outside)):
        if values.ndim != 1 or len(values) == 0:
            raise DataError(f"{name} scores have shape {values.shape}; at least one score (n,) is needed.")
        if not np.isfinite(values).all():
            raise DataError(f"{name} scores hold values that are not finite.")


def auroc(inside: NDArray[np.float64], outside: NDArray[np.float64], *, confidence: float = 0.95) -> Auroc:
    """AUROC of anomaly scores, higher = more anomalous, out = positive.

    DeLong et al. 1988 with the ranks of Sun and Xu 2014 (O(n log n)), clipped to [0, 1]. An AUROC of exactly 0 or 1 has an
    estimated variance of 0, which would claim certainty; there the interval is Clopper and Pearson's for min(n_in, n_out)
    disjoint pairs, all of them in the same order (conservative).

    Args:
        inside: float64 (n_in,). outside: float64 (n_out,).
    Raises:
        DataError: an empty set, or scores that are not finite.
    """
    check_scores(inside, outside)
    n, m = len(inside), len(outside)
    ranks = stats.rankdata(np.concatenate([inside, outside]))
    # Share of the other set below each score, ties half: DeLong's placement values.
    of_out = (ranks[n:] - stats.rankdata(outside)) / n
    of_in = 1 - (ranks[:n] - stats.rankdata(inside)) / m
    value = float(of_out.mean())
    if value in (0.0, 1.0):
        bound = float(((1 - confidence) / 2) ** (1 / min(n, m)))
        interval, kind = ((bound, 1.0) if value == 1 else (0.0, 1 - bound)), EXACT
    else:
        variance = (of_out.var(ddof=1) / m if m > 1 else 0.25) + (of_in.var(ddof=1) / n if n > 1 else 0.25)
        half = float(stats.norm.ppf(0.5 + confidence / 2) * np.sqrt(variance))
        interval, kind = (max(0.0, value - half), min(1.0, value + half)), DELONG
    return Auroc(value, interval, kind, n, m)
