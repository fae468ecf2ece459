"""From the features of a pair to the probability that it is a duplicate, learnt from planted copies.

Positives are planted copies. Negatives ("decoys") are pairs of neighbours beyond the k nearest: alike, but hardly ever
the same. Where a set holds true duplicates, some negatives are duplicates, too: the sixth-nearest neighbour of an image
that is there ten times. So images that stand in a candidate pair which scores like a planted copy (at or above the
copies' 1st percentile) are left out of the negatives. What a negative scores itself plays no part in that, and every
negative that is left counts as a mistake when it scores high.

The score is the probability of a duplicate if copies and negatives were equally frequent: score / (1 - score) is the
likelihood ratio. Among candidates duplicates are rare, so the threshold is the lowest score from 0.5 on from which the
expected precision reaches a target. Precision counts images, not pairs: a group of many copies has very many pairs,
which would hide mistakes. The threshold is chosen on one half of all images and judged on the other.

Expected precision is a target-decoy estimate (Elias & Gygi 2007): what share of the decoys scores at least t, so many
of the candidates do without being duplicates. Two refinements:

- Few decoys reach the scores that matter, and where none does is luck. Above the score of the top 1 % the share of
  decoys is therefore that of a generalised Pareto tail, fitted by moments (Hosking & Wallis 1987), or the counted one
  where that is larger.
- Nearer neighbours are more alike than the later ones that serve as decoys. How much more often they reach the score
  of the top 0.5 % is counted, and carried to higher scores by a power law (a Lehmann alternative).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.duplicates.registration import PairTable
from nearkin.fileio import named

PRECISION = 0.95
# Percentiles of the planted copies: above the first a pair is suspect, above the second it is surely a copy.
_SUSPECT, _LIKE_A_COPY = 1.0, 5.0
_REGULARISED = 0.1
_ALLOWED = 0.5  # images expected to be wrong, in either half
_GRID = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 0.999)
_BINS = (0.0, 0.01, 0.1, 0.5, 0.9, 0.99, 1.0)
_FEW = 20  # minimum number of values for a tail or a calibration
_TAIL, _FAIRLY_HIGH = 0.01, 0.005

Odds = NDArray[np.float64]  # log-odds


@dataclass(frozen=True)
class PairFeatures(PairTable):
    """Features (M, F) of pairs, and compared bool (M,): False where a gate ended the comparison (score 0)."""

    features: NDArray[np.floating[Any]]
    compared: NDArray[np.bool_]


@dataclass(frozen=True)
class OperatingPoint:
    """Recall and precision of a threshold on the score, on the evaluation half.

    Attributes:
        score: the threshold. recall, recall_by_kind: shares of the planted copies at or above it. false_alarms: negatives
            at or above it. images: images with a candidate at or above it. precision: expected share of true duplicates
            among these images; None where there are none.
    """

    score: float
    recall: float
    recall_by_kind: dict[str, float]
    false_alarms: int
    images: int
    precision: float | None


@dataclass(frozen=True)
class ThresholdEvaluation(OperatingPoint):
    """The chosen threshold on the evaluation half, which holds that many copies, negatives and images."""

    copies: int
    negatives: int
    images_asked: int


@dataclass(frozen=True)
class ReliabilityBin:
    """Of scores from ``low`` to ``high``: their mean, and the share of copies, both classes weighted alike."""

    low: float = field(metadata=named("from"))
    high: float = field(metadata=named("to"))
    mean_score: float
    share_of_copies: float


@dataclass(frozen=True)
class Calibration:
    """A score, its threshold, and how well both do.

    Attributes:
        features, offset: log-odds = sum of weight x feature + offset; the weight of each feature by its name.
        target: precision aimed at. threshold: score from which a pair counts as a duplicate. reached: whether the target
            was reached on the calibration half.
        evaluation, curve, reliability: of the evaluation half: at the threshold, over scores, and by bins of the score.
        copies, negatives: numbers of planted copies and of negatives in all. copies_not_compared, copies_not_proposed,
            negatives_left_out: shares that a gate stopped, that the search did not propose, and that were suspect.
        power: by which shares of negatives become shares of candidates, see :func:`power`.
    """

    features: dict[str, float]
    offset: float
    target: float = field(metadata=named("target_precision"))
    threshold: float
    reached: bool = field(metadata=named("target_reached"))
    evaluation: ThresholdEvaluation
    curve: tuple[OperatingPoint, ...]
    reliability: tuple[ReliabilityBin, ...]
    copies: int
    copies_not_compared: float
    copies_not_proposed: float
    negatives: int
    negatives_left_out: float
    power: float

    def score(self, pairs: PairFeatures) -> NDArray[np.float64]:
        """Float64 (M,) in [0, 1]; 0 where not compared."""
        return _sigmoid(_odds(pairs, np.array(list(self.features.values())), self.offset))


def calibrate(
    names: tuple[str, ...],
    copies: PairFeatures,
    kind: NDArray[np.str_],
    proposed: NDArray[np.bool_],
    negatives: PairFeatures,
    candidates: PairFeatures,
    *,
    negative_rows: NDArray[np.int64],
    candidate_rows: NDArray[np.int64],
    within: bool,
    target: float = PRECISION,
    strict: bool = False,
) -> Calibration | None:
    """Fit score and threshold on one half of the images, judge them on the other one.

    Args:
        names: of the F features.
        copies: P planted copies with their sources. kind: str (P,). proposed: bool (P,), whether the search proposes
            the pair at all (a copy that it does not propose counts as missed).
        negatives: Q pairs beyond the k nearest. candidates: the C pairs that are to be scored.
        negative_rows, candidate_rows: int64 (Q, 2) and (C, 2), the images in them, numbered alike.
        within: both images of a candidate are asked for a duplicate, not only the first.
        target: share of true duplicates among images that are reported to have one, in (0, 1).
        strict: for copies that are rare. The threshold is not below the copies' 1st percentile. A set may hold too few copies
            to show any precision; then it is where less than one image is expected to be wrong, or 1: no pair is accepted.
            If not strict, it is then where planted copies begin.
    Returns:
        None when fewer than 20 copies could be compared: then only exact copies can be told.
    """
    # The copies of each kind go to the two halves in turn, so that both halves have equally many of them.
    half_p = np.asarray(_turns(kind) % 2 == 0)
    fitted = copies[half_p]
    if min(fitted.compared.sum(), copies.compared.sum() - fitted.compared.sum()) < _FEW // 2:
        return None
    weights, offset = _fit(fitted, negatives)
    doubt = float(np.percentile(_odds(fitted, weights, offset)[fitted.compared], _SUSPECT))
    suspect = np.unique(candidate_rows[_odds(candidates, weights, offset) >= doubt])
    kept = np.asarray(~np.isin(negative_rows, suspect).any(axis=1))
    clean = negatives[kept]
    # Halves by image, because two pairs of one image are not independent.
    half_n, half_c = negative_rows[kept, 0] % 2 == 0, candidate_rows[:, 0] % 2 == 0
    weights, offset = _fit(fitted, clean[half_n])
    odds_p = np.where(proposed, _odds(copies, weights, offset), -np.inf)
    odds_n, odds_c = _odds(clean, weights, offset), _odds(candidates, weights, offset)
    sides = 2 if within else 1
    asked = candidate_rows[:, :sides]
    exponent = power(odds_c[~np.isin(candidate_rows, suspect).any(axis=1)], odds_n)
    chances = [sides * int(half.sum()) for half in (half_c, ~half_c)]
    best = [best_of_images(odds_c[half], asked[half]) for half in (half_c, ~half_c)]
    start, cut = np.percentile(_odds(fitted, weights, offset)[fitted.compared], [_SUSPECT, _LIKE_A_COPY])
    start, cut = (max(0.0, start), np.inf) if strict else (0.0, cut)
    decoys = Decoys(odds_n[half_n], exponent, smooth=True)
    threshold, reached = lowest(
        best[0], decoys, chances[0], target, float(cut), start=float(start), allowed=_ALLOWED if strict else 0.0
    )
    judged_p, judged_kind, decoys = odds_p[~half_p], kind[~half_p], Decoys(odds_n[~half_n], exponent)
    kinds = [str(name) for name in np.unique(judged_kind)]

    def at(odds: float) -> OperatingPoint:
        hit = judged_p >= odds
        expected = float(precision(best[1], decoys, chances[1], np.array(odds)))
        return OperatingPoint(
            score=float(_sigmoid(np.array(odds))),
            recall=float(hit.mean()),
            recall_by_kind={name: float(hit[judged_kind == name].mean()) for name in kinds},
            false_alarms=int((decoys.odds >= odds).sum()),
            images=int((best[1] >= odds).sum()),
            precision=None if np.isnan(expected) else expected,
        )

    return Calibration(
        features={name: float(weight) for name, weight in zip(names, weights, strict=True)},
        offset=float(offset),
        target=target,
        threshold=float(_sigmoid(np.array(threshold))),
        reached=reached,
        evaluation=ThresholdEvaluation(
            **vars(at(threshold)), copies=len(judged_p), negatives=len(decoys.odds), images_asked=len(best[1])
        ),
        curve=tuple(at(float(np.log(score / (1 - score)))) for score in _GRID),
        reliability=_reliability(_sigmoid(judged_p), _sigmoid(decoys.odds)),
        copies=len(copies),
        copies_not_compared=float((~copies.compared).mean()),
        copies_not_proposed=float((~proposed).mean()),
        negatives=len(clean),
        negatives_left_out=float((~kept).mean()) if len(kept) else 0.0,
        power=exponent,
    )


@dataclass(frozen=True)
class Decoys:
    """Pairs that are no duplicates.

    Attributes:
        odds: float64 (N,), their log-odds, -inf where not compared. power: in (0, 1], see :func:`power`.
        smooth: continue the tail; without, shares are those counted, half a decoy added (none seen is not none).
    """

    odds: Odds
    power: float
    smooth: bool = False

    def share(self, at: Odds) -> Odds:
        """Expected share of candidates at or above each of ``at`` among those that are no duplicates, in (0, 1]."""
        n = len(self.odds)
        seen = n - np.searchsorted(self._sorted, at)
        share = np.maximum(seen / max(1, n), self._tail(at)) if self.smooth else (seen + 0.5) / (n + 1)
        return np.asarray(share**self.power, dtype=np.float64)

    @cached_property
    def _sorted(self) -> Odds:
        return np.sort(self.odds)

    def _tail(self, at: Odds) -> Odds:
        n, many = len(self.odds), max(_FEW, round(_TAIL * len(self.odds)))
        highest = self._sorted[n - many :] if many <= n else self._sorted[:0]
        if not len(highest) or not np.isfinite(highest[0]):
            return np.full(np.shape(at), 0.5 / (n + 1))
        beyond = highest - highest[0]
        mean, spread = max(float(beyond.mean()), 1e-9), max(float(beyond.var()), 1e-18)
        # No heavier than exponential: a hundred values cannot show more.
        shape = min(-1e-6, 0.5 * (1 - mean * mean / spread))
        above = np.maximum(0, at - highest[0])
        left = np.maximum(0, 1 + shape * above / (mean * (1 - shape))) ** (-1 / shape)
        # A fitted tail may end, but few values cannot show that. An exponential tail continues, up to half a decoy.
        unseen = np.minimum(0.5 / n, many / n * np.exp(-above / mean))
        return np.asarray(np.maximum(many / n * left, unseen))


def power(candidates: Odds, decoys: Odds) -> float:
    """The power in (0, 1] by which shares of decoys become shares of candidates that are no duplicates.

    Args:
        candidates: log-odds of candidates whose images are beyond suspicion. Some of them are duplicates unlike any
            copy: the power errs on the side of caution.
    """
    finite = np.sort(decoys[np.isfinite(decoys)])[::-1]
    many = max(_FEW, round(_FAIRLY_HIGH * len(decoys)))
    if not len(candidates) or many > len(finite) or many >= len(decoys):
        return 1.0
    share = float((candidates >= finite[many - 1]).mean())
    return min(1.0, float(np.log(share) / np.log(many / len(decoys)))) if 0 < share < 1 else 1.0


def best_of_images(odds: Odds, asked: NDArray[np.int64]) -> Odds:
    """The highest log-odds of each image that stands in the pairs ``asked`` int64 (P, sides) of log-odds (P,)."""
    _, image = np.unique(asked, return_inverse=True)
    out = np.full(int(image.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(out, image.reshape(asked.shape), odds[:, None])
    return out


def precision(best: Odds, decoys: Decoys, chances: int, at: Odds) -> Odds:
    """Expected share of true duplicates among images whose best pair is at or above each of ``at``; NaN where none is.

    Each of the ``chances`` pairs that gets there by chance is counted against an image of its own.
    """
    accepted = len(best) - np.searchsorted(np.sort(best), at)
    wrong = chances * decoys.share(at) / np.maximum(accepted, 1)
    return np.asarray(np.where(accepted > 0, np.maximum(0, 1 - wrong), np.nan))


def lowest(
    best: Odds, decoys: Decoys, chances: int, target: float, cut: float, *, start: float = 0.0, allowed: float = 0.0
) -> tuple[float, bool]:
    """The lowest log-odds from ``start`` to ``cut`` from which on the expected precision is at least ``target``.

    Below 0 a pair is more like a decoy than like a copy, and better pairs should not make up for it.

    Args:
        allowed: or from which on so few images are expected to be wrong at all.
    Returns:
        It, and whether the precision is reached there; ``cut`` and False where there is none.
    """
    options = np.nextafter(np.unique(np.concatenate([best, decoys.odds])), np.inf)
    options = np.append(start, options[(options > start) & (options <= cut)])
    reached = precision(best, decoys, chances, options) >= target
    good = np.flatnonzero(reached | (chances * decoys.share(options) <= allowed))
    return (float(options[good[0]]), bool(reached[good[0]])) if len(good) and cut >= 0 else (cut, False)


def _turns(kind: NDArray[np.str_]) -> NDArray[np.int64]:
    """For each entry: how many earlier entries are of its kind."""
    out = np.zeros(len(kind), dtype=np.int64)
    for name in np.unique(kind):
        rows = kind == name
        out[rows] = np.arange(rows.sum())
    return out


def _fit(copies: PairFeatures, negatives: PairFeatures) -> tuple[NDArray[np.float64], float]:
    """Log-odds, classes weighted alike, as weights of the raw features: logistic regression on compared pairs.

    Copies are easier than duplicates in the wild, and nearly separable. So the direction comes from a strongly
    regularised fit, in which every feature keeps a say, and the slope from a second one along it (Platt scaling).
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    usable = negatives.compared if negatives.compared.sum() >= _FEW else np.ones(len(negatives), dtype=bool)
    x = np.concatenate([copies.features[copies.compared], negatives.features[usable]]).astype(np.float64)
    y = np.arange(len(x)) < copies.compared.sum()
    if y.all():
        # Without other pairs, one that correlates with nothing represents them.
        x, y = np.concatenate([x, np.zeros((1, x.shape[1]))]), np.append(y, False)
    scaler = StandardScaler().fit(x)
    model = LogisticRegression(C=_REGULARISED, class_weight="balanced", max_iter=1000).fit(scaler.transform(x), y)
    along = model.decision_function(scaler.transform(x))[:, None]
    slope = LogisticRegression(class_weight="balanced", max_iter=1000).fit(along, y)
    weights = np.asarray(slope.coef_[0, 0] * model.coef_[0] / scaler.scale_, dtype=np.float64)
    return weights, float(slope.coef_[0, 0] * model.intercept_[0] + slope.intercept_[0] - weights @ scaler.mean_)


def _odds(pairs: PairFeatures, weights: NDArray[np.float64], offset: float) -> Odds:
    return np.where(pairs.compared, pairs.features @ weights + offset, -np.inf)


def _reliability(copies: NDArray[np.float64], negatives: NDArray[np.float64]) -> tuple[ReliabilityBin, ...]:
    """Whether scores are probabilities: by bins, those of copies and of negatives, each class with half the weight."""
    scores, weights = (copies, negatives), (0.5 / max(1, len(copies)), 0.5 / max(1, len(negatives)))
    bins = []
    for low, high in zip(_BINS, _BINS[1:], strict=False):
        inside = [(s >= low) & ((s < high) | (high == 1.0)) for s in scores]
        mass = [w * float(rows.sum()) for w, rows in zip(weights, inside, strict=True)]
        total = sum(w * float(s[rows].sum()) for w, s, rows in zip(weights, scores, inside, strict=True))
        if sum(mass) > 0:
            bins.append(ReliabilityBin(low, high, total / sum(mass), mass[0] / sum(mass)))
    return tuple(bins)


def _sigmoid(odds: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    from scipy.special import expit

    return np.asarray(expit(odds), dtype=np.float64)
