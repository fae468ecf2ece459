"""Who is in a cluster: its most central and most borderline images, its classes, its place on a map."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

_CHUNK = 4096


@dataclass(frozen=True)
class Cluster:
    """Attributes:
    cluster: its number. size: its images. share: of all images, noise included, in [0, 1].
    margin: mean over its images of (b - a) / max(a, b), where a is the distance to its own centre and b to the nearest
        other one: the simplified silhouette (Hruschka et al. 2004), in [-1, 1]; None with one cluster.
    central: rows closest to the centre, closest first. borderline: rows with the smallest margin, smallest first.
    central_ids, borderline_ids: the same as ids.
    composition: images per class, most frequent first, classes that are absent left out; empty without labels.
    majority: the most frequent class; None without labels. majority_share: its share of the labelled images.
    """

    cluster: int
    size: int
    share: float
    margin: float | None
    central: tuple[int, ...]
    borderline: tuple[int, ...]
    central_ids: tuple[str, ...]
    borderline_ids: tuple[str, ...]
    composition: dict[str, int]
    majority: str | None
    majority_share: float | None

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return asdict(self) | {
            name: list(getattr(self, name)) for name in ("central", "borderline", "central_ids", "borderline_ids")
        }


def centres(values: NDArray[np.float32], assigned: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean of each cluster's rows, float32 (K, D), K = largest number + 1; a number without rows has NaN.

    On a map (N, 2) this is the mean position of the members. On a PCA map that is also where the centre itself falls,
    as PCA is linear; on a t-SNE map it is only a place for a sign, which may lie off every member.
    """
    k = int(assigned.max(initial=-1)) + 1
    sums, some = np.zeros((k, values.shape[1])), assigned >= 0
    np.add.at(sums, assigned[some], values[some])
    counts = np.bincount(assigned[some], minlength=k)[:, None]
    out: NDArray[np.float32] = np.where(counts > 0, sums / np.maximum(counts, 1), np.nan).astype(np.float32)
    return out


def to_centres(Z: NDArray[np.float32], assigned: NDArray[np.int64]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Distance of each row of Z (N, D) to its own cluster's centre, and its margin (see :class:`Cluster`).

    Both float32 (N,); NaN for noise. With one cluster all margins are NaN; a row that sits on both centres has 0.
    """
    own = np.full(len(Z), np.nan, dtype=np.float32)
    margin = own.copy()
    rows = np.flatnonzero(assigned >= 0)
    if not len(rows):
        return own, margin
    offset = Z.mean(axis=0)
    middle = centres(Z - offset, assigned)
    for start in range(0, len(rows), _CHUNK):
        part = rows[start : start + _CHUNK]
        points = Z[part] - offset
        squared = np.square(points).sum(axis=1)[:, None] - 2 * points @ middle.T + np.square(middle).sum(axis=1)
        distance = np.sqrt(np.maximum(squared, 0))
        at = np.arange(len(part)), assigned[part]
        own[part] = a = distance[at]
        if len(middle) > 1:
            distance[at] = np.inf
            b = distance.min(axis=1)
            margin[part] = (b - a) / np.maximum(np.maximum(a, b), np.finfo(np.float32).tiny)
    return own, margin


def describe(
    Z: NDArray[np.float32],
    assigned: NDArray[np.int64],
    ids: NDArray[np.str_],
    labels: NDArray[np.int64] | None,
    classes: tuple[str, ...],
    *,
    examples: int = 10,
) -> tuple[Cluster, ...]:
    """Describe each cluster 0, 1, ... of Z (N, D); rows with a negative number (noise) belong to none.

    Args:
        assigned: int64 (N,), every number up to the largest in use. labels: int64 (N,), -1 for unknown.
        examples: how many central and borderline rows to list.
    """
    own, margin = to_centres(Z, assigned)
    out = []
    for c in range(int(assigned.max(initial=-1)) + 1):
        rows = np.flatnonzero(assigned == c)
        central = rows[np.argsort(own[rows], kind="stable")[:examples]]
        several = not np.isnan(margin[rows]).any()
        borderline = rows[np.argsort(margin[rows], kind="stable")[:examples]] if several else rows[:0]
        composition = _composition(labels, rows, classes)
        total = sum(composition.values())
        out.append(
            Cluster(
                cluster=c,
                size=len(rows),
                share=len(rows) / len(Z),
                margin=float(margin[rows].mean(dtype=np.float64)) if several else None,
                central=tuple(central.tolist()),
                borderline=tuple(borderline.tolist()),
                central_ids=tuple(ids[central].tolist()),
                borderline_ids=tuple(ids[borderline].tolist()),
                composition=composition,
                majority=next(iter(composition), None),
                majority_share=max(composition.values()) / total if total else None,
            )
        )
    return tuple(out)


def _composition(labels: NDArray[np.int64] | None, rows: NDArray[np.int64], classes: tuple[str, ...]) -> dict[str, int]:
    if labels is None:
        return {}
    counts = np.bincount(labels[rows][labels[rows] >= 0], minlength=len(classes))
    order = np.lexsort((np.arange(len(counts)), -counts))
    return {classes[c]: int(counts[c]) for c in order if counts[c]}
