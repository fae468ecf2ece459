"""From measurements of a pair to the probability that it is a duplicate, learnt from planted copies.

Positives are planted copies; negatives are pairs of neighbours beyond the k nearest: alike, but hardly ever the same.
Where a set holds true duplicates, some negatives are duplicates, too: the sixth-nearest neighbour of an image that is
there ten times. So images that stand in a candidate pair which scores like a planted copy (at or above the copies' 1st
percentile) are left out of the negatives. What a negative scores itself plays no part in that, and every negative that
is left counts as a mistake when it scores high.

The score is the probability of a duplicate if copies and negatives were equally frequent: score / (1 - score) is the
likelihood ratio. Among candidates duplicates are rare, so the threshold is the lowest score from 0.5 on from which
the expected precision (decoys.py) reaches a target. Precision counts images, not pairs: a group of many copies has
very many pairs, which would hide mistakes. The threshold is chosen on one half of all images and judged on the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.fdr import FEW, Decoys, best_of_images, lowest, power, precision

PRECISION = 0.95
# Percentiles of the planted copies: from where on a pair is suspect, and where copies begin for certain.
_SUSPECT, _LIKE_A_COPY = 1.0, 5.0
_REGULARISED = 0.1
_GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
_BINS = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)

Values = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Sample:
    """Measured pairs: features (M, F), and compared bool (M,), False where a gate ended the comparison (score 0)."""

    features: Values
    compared: Flags

    def take(self, index: NDArray[Any]) -> Sample:
        """The pairs at ``index`` (rows or a mask)."""
        return Sample(self.features[index], self.compared[index])

    def __len__(self) -> int:
        return len(self.compared)


@dataclass(frozen=True)
class Calibration:
    """Attributes:
    names: the features; weights, offset: log-odds = weights . features + offset.
    target: precision aimed at. threshold: score from which a pair counts as a duplicate. reached: whether the target
        was reached on the calibration half; otherwise the threshold is where planted copies begin (5th percentile).
    report: numbers of the evaluation half, JSON-able.
    """

    names: tuple[str, ...]
    weights: tuple[float, ...]
    offset: float
    target: float
    threshold: float
    reached: bool
    report: dict[str, Any]

    def score(self, sample: Sample) -> NDArray[np.float64]:
        """Float64 (M,) in [0, 1]; 0 where not compared."""
        return _sigmoid(_odds(sample, np.array(self.weights), self.offset))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "features": dict(zip(self.names, self.weights, strict=True)),
            "offset": self.offset,
            "target_precision": self.target,
            "threshold": self.threshold,
            "target_reached": self.reached,
            **self.report,
        }


def calibrate(
    names: tuple[str, ...],
    positives: Sample,
    kind: NDArray[np.str_],
    found: Flags,
    negatives: Sample,
    candidates: Sample,
    images: tuple[NDArray[np.int64], NDArray[np.int64]],
    *,
    within: bool,
    target: float = PRECISION,
) -> Calibration | None:
    """Fit score and threshold on one half of the pairs, judge them on the other one.

    Args:
        names: of the F features.
        positives: planted copies with their sources; ``kind`` str (P,); ``found`` bool (P,), whether the search
            proposed the pair at all (a copy that it does not propose counts as missed).
        negatives: Q pairs beyond the k nearest. candidates: the C pairs that are to be scored.
        images: the images in them, int64 (Q, 2) and (C, 2), numbered alike.
        within: both images of a candidate are asked for a duplicate, not only the first.
        target: share of true duplicates among images that are reported to have one, in (0, 1).
    Returns:
        None when fewer than 20 copies could be compared: then nothing but exact copies can be told.
    """
    # Copies come in turns of their kinds: halves by turn, so that each half has all kinds alike.
    half_p = np.asarray(_turns(kind) % 2 == 0)
    pos = positives.take(half_p)
    if min(pos.compared.sum(), positives.compared.sum() - pos.compared.sum()) < FEW // 2:
        return None
    weights, offset = _fit(pos, negatives)
    doubt = float(np.percentile(_odds(pos, weights, offset)[pos.compared], _SUSPECT))
    suspect = np.unique(images[1][_odds(candidates, weights, offset) >= doubt])
    kept = np.asarray(~np.isin(images[0], suspect).any(axis=1))
    clean = negatives.take(kept)
    # By image: two pairs of one image are no independent evidence.
    half_n, half_c = images[0][kept, 0] % 2 == 0, images[1][:, 0] % 2 == 0
    weights, offset = _fit(pos, clean.take(half_n))
    odds_p = np.where(found, _odds(positives, weights, offset), -np.inf)
    odds_n, odds_c = _odds(clean, weights, offset), _odds(candidates, weights, offset)
    sides = 2 if within else 1
    asked = images[1][:, :sides]
    exponent = power(odds_c[~np.isin(images[1], suspect).any(axis=1)], odds_n)
    chances = [sides * int(half.sum()) for half in (half_c, ~half_c)]
    best = [best_of_images(odds_c[half], asked[half]) for half in (half_c, ~half_c)]
    cut = float(np.percentile(_odds(pos, weights, offset)[pos.compared], _LIKE_A_COPY))
    threshold, reached = lowest(best[0], Decoys(odds_n[half_n], exponent, smooth=True), chances[0], target, cut)
    report = _report(odds_p[~half_p], kind[~half_p], Decoys(odds_n[~half_n], exponent), best[1], chances[1], threshold)
    report |= {
        "copies": len(positives),
        "copies_not_compared": float((~positives.compared).mean()),
        "copies_not_proposed": float((~found).mean()),
        "negatives": len(clean),
        "negatives_left_out": float((~kept).mean()) if len(kept) else 0.0,
        "power": exponent,
    }
    at = float(_sigmoid(np.array(threshold)))
    return Calibration(names, tuple(float(w) for w in weights), float(offset), target, at, reached, report)


def _turns(kind: NDArray[np.str_]) -> NDArray[np.int64]:
    """How often each entry's kind came before."""
    out = np.zeros(len(kind), dtype=np.int64)
    for name in np.unique(kind):
        rows = kind == name
        out[rows] = np.arange(rows.sum())
    return out


def _fit(positives: Sample, negatives: Sample) -> tuple[NDArray[np.float64], float]:
    """Log-odds, classes weighted alike, as weights of the raw features: logistic regression on compared pairs.

    Copies are easier than duplicates in the wild, and nearly separable. So the direction comes from a strongly
    regularised fit, in which every measurement keeps a say, and the slope from a second one along it (Platt scaling).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    usable = negatives.compared if negatives.compared.sum() >= FEW else np.ones(len(negatives), dtype=bool)
    x = np.concatenate([positives.features[positives.compared], negatives.features[usable]]).astype(np.float64)
    y = np.arange(len(x)) < positives.compared.sum()
    if y.all():
        # Nothing is known of other pairs: a pair that correlates with nothing stands for them.
        x, y = np.concatenate([x, np.zeros((1, x.shape[1]))]), np.append(y, False)
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=_REGULARISED, class_weight="balanced", max_iter=1000).fit(scaler.transform(x), y)
    along = model.decision_function(scaler.transform(x))[:, None]
    slope = LogisticRegression(class_weight="balanced", max_iter=1000).fit(along, y)
    weights = np.asarray(slope.coef_[0, 0] * model.coef_[0] / scaler.scale_, dtype=np.float64)
    return weights, float(slope.coef_[0, 0] * model.intercept_[0] + slope.intercept_[0] - weights @ scaler.mean_)


def _odds(sample: Sample, weights: NDArray[np.float64], offset: float) -> NDArray[np.float64]:
    return np.where(sample.compared, sample.features @ weights + offset, -np.inf)


def _report(
    odds_p: NDArray[np.float64],
    kind: NDArray[np.str_],
    decoys: Decoys,
    best: NDArray[np.float64],
    chances: int,
    threshold: float,
) -> dict[str, Any]:
    """Recall by kind, false alarms and precision on the evaluation half, at the threshold and over scores."""
    kinds = [str(name) for name in np.unique(kind)]

    def at(odds: float) -> dict[str, Any]:
        hit = odds_p >= odds
        expected = float(precision(best, decoys, chances, np.array(odds)))
        return {
            "score": float(_sigmoid(np.array(odds))),
            "recall": float(hit.mean()),
            "recall_by_kind": {name: float(hit[kind == name].mean()) for name in kinds},
            "false_alarms": int((decoys.odds >= odds).sum()),
            "images": int((best >= odds).sum()),
            "precision": None if np.isnan(expected) else expected,
        }

    scores = _sigmoid(odds_p), _sigmoid(decoys.odds)
    weights = 0.5 / max(1, len(odds_p)), 0.5 / max(1, len(decoys.odds))
    bins = []
    for low, high in zip(_BINS, _BINS[1:], strict=False):
        inside = [(s >= low) & ((s < high) | (high == 1.0)) for s in scores]
        mass = [w * float(rows.sum()) for w, rows in zip(weights, inside, strict=True)]
        total = sum(w * float(s[rows].sum()) for w, s, rows in zip(weights, scores, inside, strict=True))
        if sum(mass) > 0:
            bins.append(
                {"from": low, "to": high, "mean_score": total / sum(mass), "share_of_copies": mass[0] / sum(mass)}
            )
    return {
        "evaluation": at(threshold) | {"copies": len(odds_p), "negatives": len(decoys.odds), "images_asked": len(best)},
        "curve": [at(float(np.log(score / (1 - score)))) for score in _GRID],
        "reliability": bins,
    }


def _sigmoid(odds: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(odds), dtype=np.float64)
