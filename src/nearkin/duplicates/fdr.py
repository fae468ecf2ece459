"""How many candidates reach a score by chance, told from pairs that are no duplicates (decoys).

Target-decoy estimation (Elias & Gygi 2007): what share of the decoys scores at least t, so many of the candidates do
without being duplicates. Two refinements:

- Few decoys reach the scores that matter, and where none does is luck. Above the score of the top 1 % the share of
  decoys is therefore that of a generalised Pareto tail, fitted by moments (Hosking & Wallis 1987), or the counted one
  where that is larger.
- Nearer neighbours are more alike than the later ones that serve as decoys. How much more often they reach the score
  of the top 0.5 % is counted, and carried to higher scores by a power law (a Lehmann alternative).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

FEW = 20
_TAIL, _FAIRLY_HIGH = 0.01, 0.005
Odds = NDArray[np.float64]


@dataclass(frozen=True)
class Decoys:
    """Attributes:
    odds: float64 (N,), log-odds of decoys, -inf where not compared. power: in (0, 1], see :func:`power`.
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
        n, many = len(self.odds), max(FEW, round(_TAIL * len(self.odds)))
        highest = self._sorted[n - many :] if many <= n else self._sorted[:0]
        if not len(highest) or not np.isfinite(highest[0]):
            return np.full(np.shape(at), 0.5 / (n + 1))
        beyond = highest - highest[0]
        mean, spread = max(float(beyond.mean()), 1e-9), max(float(beyond.var()), 1e-18)
        # No heavier than exponential: that would say more than a hundred values can.
        shape = min(-1e-6, 0.5 * (1 - mean * mean / spread))
        above = np.maximum(0, at - highest[0])
        left = np.maximum(0, 1 + shape * above / (mean * (1 - shape))) ** (-1 / shape)
        # A fitted tail may end; nobody knows that from few values. An exponential one goes on, up to half a decoy.
        unseen = np.minimum(0.5 / n, many / n * np.exp(-above / mean))
        return np.asarray(np.maximum(many / n * left, unseen))


def power(candidates: Odds, decoys: Odds) -> float:
    """The power in (0, 1] by which shares of decoys become shares of candidates that are no duplicates.

    Args:
        candidates: log-odds of candidates whose images are beyond suspicion. Some of them are duplicates unlike any
            copy: the power errs on the side of caution.
    """
    finite = np.sort(decoys[np.isfinite(decoys)])[::-1]
    many = max(FEW, round(_FAIRLY_HIGH * len(decoys)))
    if not len(candidates) or many > len(finite) or many >= len(decoys):
        return 1.0
    share = float((candidates >= finite[many - 1]).mean())
    return min(1.0, float(np.log(share) / np.log(many / len(decoys)))) if 0 < share < 1 else 1.0


def best_of_images(odds: Odds, asked: NDArray[np.int64]) -> Odds:
    """The highest log-odds (P,) of each image that stands in pairs ``asked`` int64 (P, sides)."""
    _, image = np.unique(asked, return_inverse=True)
    out = np.full(int(image.max(initial=-1)) + 1, -np.inf)
    np.maximum.at(out, image.reshape(asked.shape), odds[:, None])
    return out


def precision(best: Odds, decoys: Decoys, chances: int, at: Odds) -> Odds:
    """Expected share of true duplicates among images whose best pair is at or above each of ``at``; NaN where none is.

    Of ``chances`` pairs those that get there by chance are each on account of an image of its own.
    """
    accepted = len(best) - np.searchsorted(np.sort(best), at)
    wrong = chances * decoys.share(at) / np.maximum(accepted, 1)
    return np.asarray(np.where(accepted > 0, np.maximum(0, 1 - wrong), np.nan))


def lowest(best: Odds, decoys: Decoys, chances: int, target: float, cut: float) -> tuple[float, bool]:
    """The lowest log-odds from 0 to ``cut`` from which on the expected precision is at least ``target``.

    Below 0 a pair is more like a decoy than like a copy: not even where better pairs would make up for it. Returns
    ``cut`` and False where there is none.
    """
    options = np.nextafter(np.unique(np.concatenate([best, decoys.odds])), np.inf)
    options = np.append(0.0, options[(options > 0) & (options <= cut)])
    good = np.flatnonzero(precision(best, decoys, chances, options) >= target)
    return (float(options[good[0]]), True) if len(good) and cut >= 0 else (cut, False)
