"""Pictures for tests: smooth random textures, each unlike all others."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


@pytest.fixture(scope="session")
def textures() -> Callable[..., NDArray[np.uint8]]:
    """textures(n, seed=0, side=32) -> uint8 (n, 3, side, side)."""

    def make(n: int, seed: int = 0, side: int = 32) -> NDArray[np.uint8]:
        rng = np.random.default_rng(seed)

        def field(channels: int, sigma: float) -> NDArray[np.float64]:
            out = gaussian_filter(rng.normal(size=(n, channels, side, side)), (0, 0, sigma, sigma), mode="nearest")
            return np.asarray(out / out.std(axis=(1, 2, 3), keepdims=True))

        mixed = field(1, side / 20) + field(1, side / 7) + 0.3 * field(3, side / 7)
        return np.asarray(np.clip(128 + 40 * mixed, 0, 255), dtype=np.uint8)

    return make
