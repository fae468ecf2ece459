"""Methods by name. Importing this package imports no torch; ``create`` does."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import Any

from nearkin.errors import unknown


@dataclass(frozen=True)
class MethodInfo:
    """A registered method: where its class is and which settings make it what it is.

    Attributes:
        trained: whether ``fit`` runs the training loop (and so leaves curves).
        seeded: whether results depend on the seed. takes_settings: whether it knows encoder and training settings.
        overrides: settings fixed by the name, e.g. the ablation's weight of 0.
    """

    name: str
    title: str
    trained: bool
    summary: str
    target: str
    overrides: dict[str, Any] = field(default_factory=dict)
    seeded: bool = True
    takes_settings: bool = True


_INFOS = (
    MethodInfo("vicreg", "VICReg", True, "invariance, variance and covariance on two views", "vicreg:VICReg"),
    MethodInfo(
        "vicreg-novar",
        "VICReg, no variance",
        True,
        "ablation: VICReg without the variance term",
        "vicreg:VICReg",
        {"variance_weight": 0.0},
    ),
    MethodInfo(
        "raw-pixels",
        "raw pixels",
        False,
        "baseline: the pixels themselves",
        "baselines:RawPixels",
        seeded=False,
        takes_settings=False,
    ),
    MethodInfo(
        "pca",
        "PCA of pixels",
        False,
        "baseline: principal components of the pixels",
        "baselines:PixelPCA",
        seeded=False,
        takes_settings=False,
    ),
    MethodInfo("random-init", "random encoder", False, "baseline: the untrained encoder", "baselines:RandomInit"),
)
METHODS: dict[str, MethodInfo] = {info.name: info for info in _INFOS}


def create(name: str, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> Any:
    """Build a method for images of shape (3, H, W).

    Raises:
        ConfigError: unknown method or setting (with "did you mean"), or an illegal value.
    """
    if name not in METHODS:
        raise unknown("method", name, METHODS)
    info = METHODS[name]
    module, attribute = info.target.split(":")
    cls = getattr(importlib.import_module(f"nearkin.methods.{module}"), attribute)
    return cls({**settings, **info.overrides}, image_shape)
