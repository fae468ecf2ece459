"""Do scores and runs call the same images anomalous? Overlap of their top lists, and whose outliers these are.

Lists that differ in one thing only (method, seed or score) say whether outliers belong to the set, to the method, or to the
single run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError
from nearkin.fileio import MERGED

TOP = 100
ListKey = tuple[str, int, str]  # method, seed, score of a list
_DIFFERS = {"methods": 0, "seeds": 1, "scores": 2}


def top_rows(scores: NDArray[np.float64], most: int = TOP) -> NDArray[np.int64]:
    """Rows of the highest scores (N,), highest first; ties in stored order. int64 (min(N, most),)."""
    return np.argsort(-scores, kind="stable")[:most].astype(np.int64)


@dataclass(frozen=True)
class TopOverlap:
    """Attributes:
    names: of the lists. matrix: Jaccard index of each pair, (L, L), in [0, 1].
    mean: over the pairs of different lists; None for a single list.
    chance: expected Jaccard index of two random lists (hypergeometric mean of the intersection).
    """

    names: tuple[str, ...]
    matrix: NDArray[np.float64]
    mean: float | None
    chance: float


def top_overlap(tops: Mapping[str, Sequence[Any] | NDArray[Any]], n: int) -> TopOverlap:
    """Jaccard index |A and B| / |A or B| of every pair of top lists (rows or ids) among n images.

    Raises:
        DataError: no lists, or an empty one.
    """
    if not tops or any(len(rows) == 0 for rows in tops.values()):
        raise DataError("an overlap needs at least one list of rows, none of them empty.")
    sets = {name: set(np.asarray(rows).tolist()) for name, rows in tops.items()}
    names = tuple(sets)
    matrix = np.eye(len(names))
    for i, j in combinations(range(len(names)), 2):
        a, b = sets[names[i]], sets[names[j]]
        matrix[i, j] = matrix[j, i] = len(a & b) / len(a | b)
    pairs = matrix[np.triu_indices(len(names), 1)]
    size = float(np.mean([len(rows) for rows in sets.values()]))
    shared = size * size / max(n, 1)
    return TopOverlap(names, matrix, float(pairs.mean()) if len(pairs) else None, shared / (2 * size - shared))


@dataclass(frozen=True)
class MeanOverlap:
    """Mean Jaccard index of so many pairs of lists; None without any."""

    mean: float | None
    pairs: int


@dataclass(frozen=True)
class OutlierOverlap:
    """Attributes:
    overlap: of all lists.
    between: "methods", "seeds", "scores" -> the mean overlap of lists that differ in this only. statement: in words.
    """

    overlap: TopOverlap = field(metadata=MERGED)
    between: dict[str, MeanOverlap]
    statement: str


def outlier_overlap(keys: Sequence[ListKey], overlap: TopOverlap) -> OutlierOverlap:
    """What lists share that differ in the method only, the seed only, or the score only. ``keys``: of its lists, in order."""
    between = {}
    for name, at in _DIFFERS.items():
        values = [
            overlap.matrix[i][j]
            for i, j in combinations(range(len(keys)), 2)
            if all((keys[i][p] != keys[j][p]) == (p == at) for p in range(3))
        ]
        between[name] = MeanOverlap(float(np.mean(values)) if values else None, len(values))
    return OutlierOverlap(overlap, between, _statement(between, overlap.chance))


def _statement(between: dict[str, MeanOverlap], chance: float) -> str:
    told = [f"{name} {100 * item.mean:.0f} %" for name, item in between.items() if item.mean is not None]
    if not told:
        return "One list alone: nothing to compare."
    text = f"Lists of the most anomalous test images that differ in one thing only share (Jaccard, chance {100 * chance:.1f} %): "
    text += f"{', '.join(told)}."
    methods, seeds = between["methods"].mean, between["seeds"].mean
    if methods is None:
        return text
    if seeds is None:
        return (
            f"{text} With one seed it cannot be told whether what methods do not share belongs to them or to the run."
        )
    if seeds - chance <= 0.5 * (1 - chance) and methods - chance <= 0.5 * (seeds - chance):
        return f"{text} Even seeds of one method share less than half: outliers belong to the run before the set."
    if methods - chance > 0.5 * (seeds - chance):
        return f"{text} Methods share more than half of what seeds share: outliers belong to the set more than to the model."
    return (
        f"{text} Methods share less than half of what seeds share: outliers belong to the method more than to the set."
    )
