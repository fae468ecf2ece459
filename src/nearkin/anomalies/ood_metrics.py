"""How well an anomaly score tells out-of-distribution (OOD) images from in-distribution ones: the field's four numbers.

Names and definitions are OpenOOD's (Zhang et al. 2023): out is the positive class of AUROC, AUPR_OUT and FPR@95.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.evaluate.stats import Auroc, auroc

_POINTS, _BINS = 101, 40
EXTREMES = 7


@dataclass(frozen=True)
class OOD:
    """Attributes:
    auroc: with its interval over images.
    aupr_in, aupr_out: average precision with in (low scores) or out (high scores) as the positive class, in [0, 1]. They
        depend on n_in / n_out; chance is the positive class's share.
    fpr95: FPR@95: share of in-distribution images at or above the threshold at which at least 95 % of the OOD images are,
        in [0, 1]; lower is better.
    roc: float64 (P, 2), false and true positive rate. pr_in, pr_out: float64 (P, 2), recall and precision. Thinned to at
        most 101 points; area under them agrees with the numbers to about .01.
    edges: float64 (41,), bin edges of the two histograms (0.5th to 99.5th percentile; outer values in the outer bins).
    hist_in, hist_out: int64 (40,).
    most, least: rows of the 7 highest and 7 lowest scores over both sets: ("in" or "out", row, score).
    """

    auroc: Auroc
    aupr_in: float
    aupr_out: float
    fpr95: float
    roc: NDArray[np.float64]
    pr_in: NDArray[np.float64]
    pr_out: NDArray[np.float64]
    edges: NDArray[np.float64]
    hist_in: NDArray[np.int64]
    hist_out: NDArray[np.int64]
    most: tuple[tuple[str, int, float], ...]
    least: tuple[tuple[str, int, float], ...]

    def to_dict(self, *, curves: bool = True) -> dict[str, Any]:
        """JSON-able: {"AUROC", "interval", "interval_kind", "n_in", "n_out", "AUPR_IN", "AUPR_OUT", "FPR@95",
        "most", "least"} and, with ``curves``, {"roc", "pr_in", "pr_out", "histogram"}.
        """
        out = self.auroc.to_dict()
        out |= {"AUPR_IN": self.aupr_in, "AUPR_OUT": self.aupr_out, "FPR@95": self.fpr95}
        for name, rows in (("most", self.most), ("least", self.least)):
            out[name] = [{"set": where, "row": row, "score": score} for where, row, score in rows]
        if curves:
            out |= {name: np.round(getattr(self, name), 5).tolist() for name in ("roc", "pr_in", "pr_out")}
            out["histogram"] = {
                "edges": self.edges.tolist(),
                "in": self.hist_in.tolist(),
                "out": self.hist_out.tolist(),
            }
        return out


def detect(inside: NDArray[np.float64], outside: NDArray[np.float64]) -> OOD:
    """Judge anomaly scores, higher = more anomalous.

    Args:
        inside: float64 (n_in,), of in-distribution images that are not in the training set. outside: float64 (n_out,).
    Raises:
        DataError: an empty set, or scores that are not finite.
    """
    from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

    area = auroc(inside, outside)
    scores = np.concatenate([inside, outside])
    is_out = np.repeat([0, 1], [len(inside), len(outside)])
    fpr, tpr, _ = roc_curve(is_out, scores, drop_intermediate=False)
    precision_in, recall_in, _ = precision_recall_curve(1 - is_out, -scores)
    precision_out, recall_out, _ = precision_recall_curve(is_out, scores)
    low, high = np.percentile(scores, [0.5, 99.5])
    if not high > low:
        # One value throughout (or nearly): one bin's width around it.
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, _BINS + 1)
    order = np.argsort(-scores, kind="stable")
    return OOD(
        auroc=area,
        aupr_in=float(average_precision_score(1 - is_out, -scores)),
        aupr_out=float(average_precision_score(is_out, scores)),
        fpr95=float(fpr[np.argmax(tpr >= 0.95)]),
        roc=thin(fpr, tpr),
        pr_in=thin(recall_in, precision_in),
        pr_out=thin(recall_out, precision_out),
        edges=edges,
        hist_in=np.histogram(np.clip(inside, low, high), edges)[0].astype(np.int64),
        hist_out=np.histogram(np.clip(outside, low, high), edges)[0].astype(np.int64),
        most=_rows(order[:EXTREMES], scores, len(inside)),
        least=_rows(order[::-1][:EXTREMES], scores, len(inside)),
    )


def thin(x: NDArray[np.float64], y: NDArray[np.float64], points: int = _POINTS) -> NDArray[np.float64]:
    """At most ``points`` of a curve's points, evenly spaced along it, ends kept: float64 (P, 2)."""
    curve = np.stack([x, y], axis=1).astype(np.float64)
    if len(curve) <= points:
        return curve
    walked = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(curve, axis=0)).sum(axis=1))])
    keep = np.searchsorted(walked, np.linspace(0, walked[-1], points - 1))
    kept: NDArray[np.float64] = curve[np.unique(np.concatenate([keep, [0, len(curve) - 1]]))]
    return kept


def _rows(order: NDArray[np.int64], scores: NDArray[np.float64], n_in: int) -> tuple[tuple[str, int, float], ...]:
    return tuple(
        ("in", int(i), float(scores[i])) if i < n_in else ("out", int(i) - n_in, float(scores[i])) for i in order
    )
