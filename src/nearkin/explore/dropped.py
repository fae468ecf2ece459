"""A dropped image file -> its vector by the run that made a space."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data.decode import decode, to_square
from nearkin.embedder import image_size, open_run
from nearkin.errors import ConfigError, DataError
from nearkin.explore.spaces import Space


class Embedders:
    """Opens a run when it is first needed and keeps it. One query at a time: models are not made for threads."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._open: dict[str, Callable[[NDArray[np.uint8]], NDArray[np.float32]]] = {}
        self._lock = threading.Lock()

    def vector(self, space: Space, data: bytes) -> NDArray[np.float32]:
        """An image file's bytes -> float32 (D,).

        Raises:
            DataError: no image, or a damaged run. ConfigError: the space's run, layer or image size is not known.
        """
        if space.run is None:
            raise ConfigError(
                f"{space.title}: no run with weights is known; start with --run FOLDER to search with files."
            )
        try:
            image = decode(data)
        except ValueError as error:
            raise DataError(f"the file cannot be read: {error}.") from error
        with self._lock:
            size = image_size(space.run)
            if space.name not in self._open:
                self._open[space.name] = self._embed(space, size)
            made = self._open[space.name](to_square(image, size)[None])
        z: NDArray[np.float32] = made[0]
        return z

    def _embed(self, space: Space, size: int) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
        assert space.run is not None
        model: Any
        model, layer = open_run(space.run, (3, size, size), layer=space.layer or None, device=self.device)

        def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
            out: NDArray[np.float32] = model.embed(images, (layer,))[layer]
            return out

        return embed
