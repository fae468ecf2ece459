"""Batches of images on the device, from memory or from a file that is larger than memory."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearkin.system import prefetch

_UPLOAD = 16_384  # images


class Batches:
    """uint8 batches (B, 3, H, W) on a device, by index. The whole set moves to a GPU once if it fits in half its memory.

    Args:
        images: uint8 (N, 3, H, W), or an object that reads such rows from disk.
    """

    def __init__(self, images: NDArray[np.uint8], device: torch.device) -> None:
        self._images, self._device = images, device
        self._resident: Tensor | None = None
        if device.type == "cuda" and images.nbytes < torch.cuda.mem_get_info(device)[0] // 2:
            self._resident = torch.empty(images.shape, dtype=torch.uint8, device=device)
            for start in range(0, len(images), _UPLOAD):  # images on disk may exceed the host's memory
                part = slice(start, start + _UPLOAD)
                self._resident[part] = torch.from_numpy(np.array(images[part])).to(device)

    def __call__(self, index: NDArray[np.int64]) -> Tensor:
        """Return the images at these rows (B,)."""
        if self._resident is not None:
            return self._resident[torch.from_numpy(index).to(self._device, non_blocking=True)]
        return torch.from_numpy(self._images[index]).to(self._device)

    def in_turn(self, indexes: Iterable[NDArray[np.int64]]) -> Iterator[Tensor]:
        """Yield one batch per index, in order. From disk, a thread reads the next batch while the current one is used."""
        made = (self(index) for index in indexes)
        in_memory = isinstance(self._images, np.ndarray) and not isinstance(self._images, np.memmap)
        return made if in_memory or self._resident is not None else prefetch(made)
