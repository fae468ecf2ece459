"""The k-occurrence: in how many lists of k neighbours an image stands, and how unevenly that is spread.

N_k(x) has mean k. In many dimensions its distribution leans: a few hubs fill the lists, many anti-hubs never appear. The
usual measure is its skewness S = E[(N_k - k)^3] / std^3 (Radovanovic, Nanopoulos, Ivanovic: "Hubs in Space", JMLR 11,
2010); above about 1.4 hubs are strong.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

STRONG = 1.4  # skewness above which hubs are called strong
HUB_SIZE = 2  # a hub stands in more than twice as many lists as the mean, as in scikit-hubness

STEPS = (0.0, 0.5, 1.0, 2.0, 5.0)  # times k: where the steps of a distribution end


@dataclass(frozen=True)
class Occurrence:
    """How N lists of k images spread over the N images.

    Attributes:
        skewness: third standardised moment of the counts; 0 when all are equal.
        hubs, hub_slots: number of images in more than 2 k lists, and the share of all N k places they take.
        antihubs: share of images that stand in no list.
        top_slots: share of all places taken by the 1 % of images that appear most (even spread: 0.01).
        distinct: number of images that appear at all. largest: the highest count.
        distribution: share of the images in no list, in up to k / 2, k, 2 k, 5 k lists (each without those before), and in more.
    """

    skewness: float
    hubs: int
    hub_slots: float
    antihubs: float
    top_slots: float
    distinct: int
    largest: int
    distribution: tuple[float, ...]


def occurrence(lists: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """In how many of the lists (M, k) of rows each of n images stands: int64 (n,)."""
    return np.bincount(lists.ravel(), minlength=n).astype(np.int64)


def summarise(counts: NDArray[np.int64], k: int) -> Occurrence:
    """Summary of occurrence counts (N,) of N lists of k."""
    centred = counts - counts.mean()
    variance = float(np.mean(centred**2))
    hubs = counts > HUB_SIZE * k
    total = max(1, int(counts.sum()))
    top = np.sort(counts)[::-1][: math.ceil(len(counts) / 100)]
    return Occurrence(
        float(np.mean(centred**3)) / variance**1.5 if variance > 0 else 0.0,
        int(hubs.sum()),
        float(counts[hubs].sum() / total),
        float((counts == 0).mean()),
        float(top.sum() / total),
        int((counts > 0).sum()),
        int(counts.max()),
        tuple(
            float(share) for share in np.histogram(counts, [0, *(1e-9 + k * s for s in STEPS), np.inf])[0] / len(counts)
        ),
    )
