"""A dropped image file -> its vector by the run that made a space."""

from __future__ import annotations

import threading

import numpy as np
from numpy.typing import NDArray

from nearkin.data.decode import decode, to_square
from nearkin.errors import ConfigError, DataError
from nearkin.explore.sources import Space
from nearkin.runs.run import Embed, Run


class Embedders:
    """Opens a run when it is first needed and keeps it. One query at a time: models are not made for threads."""

    def __init__(self, device: str = "auto") -> None:
        self.device = device
        self._open: dict[str, Embed] = {}
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
            run = Run(space.run)
            size = run.image_size()
            if space.name not in self._open:
                self._open[space.name] = run.open(space.layer or None, device=self.device)
            made = self._open[space.name](to_square(image, size)[None])
        z: NDArray[np.float32] = made[0]
        return z
