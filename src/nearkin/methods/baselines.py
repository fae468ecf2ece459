"""Baselines that every learned embedding has to beat: raw pixels, PCA of pixels, HOG, an untrained encoder."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from nearkin.augment import normalize
from nearkin.errors import ConfigError
from nearkin.folders import WEIGHTS
from nearkin.methods.base import FitContext, Method, resolve
from nearkin.methods.neighborhood import pixel_features
from nearkin.methods.vicreg import VICRegMethod
from nearkin.train.checkpoint import load_tensors, save_tensors
from nearkin.train.device import make_fabric
from nearkin.vectors import sample_rows

_CALIBRATION_IMAGES = 2048
_COLOR_BINS = 8  # per channel


class RawPixelsMethod(Method):
    """Pixels in [0, 1], flattened: the layer "pixels" (N, 3 * H * W)."""

    defaults: ClassVar[dict[str, Any]] = {}
    primary_layer = "pixels"
    layers = ("pixels",)

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        self.settings = resolve(self.defaults, settings, train=False)

    def fit(self, context: FitContext) -> None:
        """Nothing to learn."""

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Nothing to load."""

    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, H, W) -> {"pixels": float32 (N, 3 * H * W)}."""
        return {"pixels": pixel_features(images)}


class PixelPCAMethod(RawPixelsMethod):
    """Principal components of the training pixels: the layer "components" (N, components), not whitened."""

    defaults: ClassVar[dict[str, Any]] = {"components": 128}
    primary_layer = "components"
    layers = ("components",)

    def fit(self, context: FitContext) -> None:
        """Learn mean and components from the training pixels (scikit-learn's randomised solver)."""
        from sklearn.decomposition import PCA

        weights = context.folder / WEIGHTS
        if not weights.exists():
            x = pixel_features(context.splits.train.images)
            # Always the same random numbers: a study runs this baseline once, whatever its seeds.
            pca = PCA(min(self.settings["components"], *x.shape), svd_solver="randomized", random_state=0).fit(x)
            tensors = {"mean": torch.from_numpy(pca.mean_), "components": torch.from_numpy(pca.components_)}
            save_tensors(weights, tensors, {})
        self.load(context.folder)

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Load mean and components."""
        tensors, _ = load_tensors(folder / WEIGHTS)
        self._mean, self._components = tensors["mean"].float().numpy(), tensors["components"].float().numpy()

    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, H, W) -> {"components": float32 (N, components)}."""
        parts = [
            (pixel_features(images[i : i + 4096]) - self._mean) @ self._components.T
            for i in range(0, len(images), 4096)
        ]
        return {"components": np.concatenate(parts).astype(np.float32)}


class HOGMethod(RawPixelsMethod):
    """Histograms of oriented gradients and colours, what image search used before nets: the layer "hog" (N, F).

    Dalal, Triggs: "Histograms of Oriented Gradients for Human Detection", CVPR 2005, by scikit-image (8 x 8 pixel cells, 9
    orientations, 2 x 2 cell blocks), beside an 8-bin histogram per colour channel. Needs the extra "baselines".
    """

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
        bins = images.reshape(len(images), 3, -1) // (256 // _COLOR_BINS)
        colours = np.stack([(bins == b).mean(axis=2) for b in range(_COLOR_BINS)], axis=2).reshape(len(images), -1)
        return {"hog": np.concatenate([np.stack(gradients), colours], axis=1).astype(np.float32)}


class RandomInitMethod(VICRegMethod):
    """The encoder with its initial random weights: what the architecture alone gives.

    BatchNorm statistics are estimated on training images (no labels, no weight changes), because the initial
    running mean 0 and variance 1 would cripple the baseline.
    """

    @property
    def layers(self) -> tuple[str, ...]:
        """The encoder's layers; a random projector says nothing more."""
        return self.joint.encoder.layer_names

    def fit(self, context: FitContext) -> None:
        """Draw the weights, estimate BatchNorm statistics, save."""
        self.fabric = make_fabric(context.device, self.config.precision)
        images, weights = context.splits.train.images, context.folder / WEIGHTS
        if not weights.exists():
            self._start(images, context.seed)
            self._calibrate(images, context.seed)
            save_tensors(weights, self.net.state_dict(), {"epochs": 0})
        self.load(context.folder, context.device)

    @torch.no_grad()
    def _calibrate(self, images: NDArray[np.uint8], seed: int) -> None:
        norms = [m for m in self.net.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
        for module in norms:
            module.momentum = None  # a plain average over the batches below
        self.net.train()
        pick = sample_rows(len(images), _CALIBRATION_IMAGES, seed, shuffled=True)
        for start in range(0, len(pick), 256):
            batch = torch.from_numpy(np.array(images[np.sort(pick[start : start + 256])]))
            if len(batch) > 1:
                self.net(normalize(batch, self.recipe))

    def test_losses(self, context: FitContext) -> None:
        """There is no training, hence no curve."""
