"""Baseline: histograms of oriented gradients and colours, what image search used before nets.

Dalal, Triggs: "Histograms of Oriented Gradients for Human Detection", CVPR 2005, by scikit-image (8 x 8 pixel cells, 9
orientations, 2 x 2 cell blocks), beside an 8-bin histogram per colour channel. Needs the extra "baselines".
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError
from nearkin.methods.baselines import RawPixels

BINS = 8


class HOG(RawPixels):
    """The layer "hog" (N, F): gradients, then colours."""

    primary_layer = "hog"
    layers = ("hog",)

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        super().__init__(settings, image_shape)
        if importlib.util.find_spec("skimage") is None:  # told now, not after hours of other methods
            raise ConfigError("method 'hog' needs scikit-image: pip install 'nearkin[baselines]'.")

    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, H, W) -> {"hog": float32 (N, F)}."""
        from skimage.feature import hog

        gradients = [
            hog(
                image.transpose(1, 2, 0),
                orientations=9,
                pixels_per_cell=(8, 8),
                cells_per_block=(2, 2),
                channel_axis=-1,
            )
            for image in images
        ]
        bins = images.reshape(len(images), 3, -1) // (256 // BINS)
        colours = np.stack([(bins == b).mean(axis=2) for b in range(BINS)], axis=2).reshape(len(images), -1)
        return {"hog": np.concatenate([np.stack(gradients), colours], axis=1).astype(np.float32)}
