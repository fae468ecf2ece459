"""Nearest and farthest images of one row or of a new vector, exactly, in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError
from nearkin.search.exact import Neighbors, farthest, knn, unit_rows

_CHUNK = 2048  # rows whose differences fit into a core's cache


@dataclass(frozen=True)
class Found:
    """Nearest and farthest images of one query: rows int64 (k,) and cosine distances float32 (k,), best first."""

    near: NDArray[np.int64]
    near_distance: NDArray[np.float32]
    far: NDArray[np.int64]
    far_distance: NDArray[np.float32]

    def to_dict(self) -> dict[str, list[list[float]]]:
        """JSON-able: {"near": [[row, distance], ...], "far": ...}."""

        def pairs(rows: NDArray[np.int64], distance: NDArray[np.float32]) -> list[list[float]]:
            return [[int(row), round(float(value), 6)] for row, value in zip(rows, distance, strict=True)]

        return {"near": pairs(self.near, self.near_distance), "far": pairs(self.far, self.far_distance)}


class Finder:
    """Search among the vectors Z, float32 (N, D), by cosine distance. Zero vectors have no direction: distance 1 / 2."""

    def __init__(self, Z: NDArray[np.float32]) -> None:
        self.unit = unit_rows(Z)

    def of_row(self, row: int, near: int, far: int) -> Found:
        """Of image ``row``, itself left out."""
        return self._find(self.unit[row], row, near, far)

    def of_vector(self, z: NDArray[np.float32], near: int, far: int) -> Found:
        """Of a new vector (D,). Raises DataError when its width differs or it is not finite."""
        if z.shape != self.unit.shape[1:] or not np.isfinite(z).all():
            raise DataError(
                f"a query of shape {z.shape} cannot be compared with vectors of {self.unit.shape[1]} numbers."
            )
        return self._find(unit_rows(z[None])[0], -1, near, far)

    def _find(self, query: NDArray[np.float32], own: int, near: int, far: int) -> Found:
        # Differences, not dot products: in a nearly collapsed space all cosines round to the same float32.
        distance = np.empty(len(self.unit), dtype=np.float32)
        for start in range(0, len(self.unit), _CHUNK):
            gap = self.unit[start : start + _CHUNK] - query
            distance[start : start + _CHUNK] = np.einsum("nd,nd->n", gap, gap) / 2
        rows = np.delete(np.arange(len(distance)), own) if own >= 0 else np.arange(len(distance))
        order = rows[np.argsort(distance[rows], kind="stable")]
        first, last = order[:near], order[::-1][:far]
        return Found(first, distance[first], last, distance[last])


def all_neighbours(Z: NDArray[np.float32], near: int, far: int) -> tuple[Neighbors, Neighbors]:
    """Nearest and farthest images of every row, by cosine distance; fewer where there are fewer images."""
    most = len(Z) - 1
    found = knn(Z, Z, min(near, most), exclude_self=True)
    return found, farthest(Z, Z, min(far, most), exclude_self=True)
