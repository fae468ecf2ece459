"""A search with a cache on disk: parts of a study that need the same neighbours search for them once."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.fileio import write_file
from nearkin.search.exact import Neighbors, knn

# Neighbours per list: the most that any part of a study asks for. A shorter list is the beginning of the longer one.
LENGTHS = {"cosine": 200, "l2": 20}
_VERSION = 1


class KnnCache:
    """:func:`nearkin.search.exact.knn` with a cache on disk: one file for each pair of queries and base.

    A file's name is a digest of the vectors, the metric and whether queries drop themselves, so a file is never out of
    date. A file that cannot be read is written anew.

    Args:
        folder: of the files; it is made when the first one is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __call__(
        self,
        queries: NDArray[np.float32],
        base: NDArray[np.float32],
        k: int,
        *,
        metric: str = "cosine",
        exclude_self: bool = False,
        own: NDArray[np.int64] | None = None,
    ) -> Neighbors:
        """Arguments, result and errors as of ``knn``. Searches with ``own`` are not cached."""
        if own is not None or metric not in LENGTHS:
            return knn(queries, base, k, metric=metric, exclude_self=exclude_self, own=own)
        path = self.folder / f"{_digest(queries, base, metric, exclude_self)}.npz"
        neighbors = _read(path, len(queries), len(base))
        if neighbors is None or neighbors.indices.shape[1] < k:
            longest = min(LENGTHS[metric], len(base) - int(exclude_self))
            neighbors = knn(queries, base, max(k, longest), metric=metric, exclude_self=exclude_self)
            _write(path, neighbors)
        return neighbors.first(k)


def _digest(queries: NDArray[np.float32], base: NDArray[np.float32], metric: str, exclude_self: bool) -> str:
    made = hashlib.blake2b(f"{_VERSION} {metric} {exclude_self}".encode(), digest_size=16)
    for Z in (queries,) if queries is base else (queries, base):
        made.update(f" {Z.dtype} {Z.shape} ".encode())
        made.update(np.ascontiguousarray(Z).data)
    return made.hexdigest()


def _write(path: Path, neighbors: Neighbors) -> None:
    arrays = {"distances": neighbors.distances, "indices": neighbors.indices.astype(np.int32)}
    write_file(path, lambda handle: np.savez(handle, allow_pickle=False, **arrays))


def _read(path: Path, queries: int, base: int) -> Neighbors | None:
    """The lists in a file, or None if it is missing, damaged or of another shape."""
    try:
        with open(path, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            distances, indices = arrays["distances"], arrays["indices"].astype(np.int64)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
        return None
    whole = distances.dtype == np.float32 and distances.shape == indices.shape and indices.ndim == 2
    if not whole or len(indices) != queries or (indices.size and not 0 <= indices.min() <= indices.max() < base):
        return None
    return Neighbors(distances, indices)
