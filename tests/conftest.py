"""Shared fixtures: real data where it is present, and smooth random textures, each unlike all others."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter


@pytest.fixture(scope="session")
def cifar10_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real CIFAR-10 test split as class folders of PNGs; skips where it is absent."""
    given = os.environ.get("NEARKIN_DATA")
    if given and (Path(given) / "cifar10").is_dir():
        return Path(given) / "cifar10"
    archives = sorted((Path(__file__).parents[2] / "shared" / "data").glob("cifar10-test.zip"))
    if not archives:
        pytest.skip("no CIFAR-10: set NEARKIN_DATA to a folder that holds cifar10/")
    folder = tmp_path_factory.mktemp("cifar10")
    for archive in archives:
        with zipfile.ZipFile(archive) as handle:
            handle.extractall(folder)
    return folder


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
