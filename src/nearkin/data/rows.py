"""Rows of a memory-mapped array, read when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

RESIDENT = 256 * 1024**2  # bytes; a choice of rows up to this size is copied into memory, which is faster later


class Rows:
    """``base[index]`` that stays on disk: what it has of an array's interface reads only the rows asked for.

    ``np.asarray`` of it reads all of them. Attributes as of an array: shape, dtype, ndim, nbytes.
    """

    def __init__(self, base: NDArray[np.uint8], index: NDArray[np.int64]) -> None:
        self.base, self.index = base, index
        self.shape = (len(index), *base.shape[1:])
        self.dtype, self.ndim = base.dtype, base.ndim
        self.nbytes = int(np.prod(self.shape)) * base.dtype.itemsize

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """Rows by number, slice, mask or index (M,), as a copy in memory."""
        out: NDArray[np.uint8] = np.asarray(self.base[self.index[key]])
        return out

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


def take_rows(images: NDArray[np.uint8], index: NDArray[np.int64]) -> NDArray[np.uint8]:
    """``images[index]``; of more than RESIDENT bytes of a memory map, a :class:`Rows` that stands in for it.

    Neighbouring rows of a memory map, in order, are a memory map again.
    """
    if isinstance(images, np.memmap) and len(index) and (np.diff(index) == 1).all():
        return images[index[0] : index[-1] + 1]
    if isinstance(images, Rows):
        picked = Rows(images.base, images.index[index])
    elif isinstance(images, np.memmap):
        picked = Rows(images, index)
    else:
        return images[index]
    return cast("NDArray[np.uint8]", picked) if picked.nbytes > RESIDENT else picked[:]


def in_memory(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images, copied out of their file where that takes no more than RESIDENT bytes."""
    return np.array(images) if isinstance(images, (np.memmap, Rows)) and images.nbytes <= RESIDENT else images
