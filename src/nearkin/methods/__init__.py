"""Methods by name. Importing this package imports no torch; ``create`` does."""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from nearkin.errors import ConfigError, unknown


@dataclass(frozen=True)
class MethodInfo:
    """A registered method: where its class is and which settings make it what it is.

    Attributes:
        trained: whether ``fit`` runs the training loop (and so leaves curves).
        seeded: whether results depend on the seed.
        overrides: settings fixed by the name, e.g. the ablation's weight of 0.
        baseline: whether it learns nothing, or next to nothing: what the others have to beat.
        uses_labels: whether training reads labels; such a method is no competitor.
        needs: methods whose runs (of the same seed) this one reads; a study trains them first.
        weights: whether a run keeps a weights.safetensors.
        encodes: whether a finished run embeds images that are not its study's.
    """

    name: str
    title: str
    trained: bool
    summary: str
    target: str
    overrides: dict[str, Any] = field(default_factory=dict)
    seeded: bool = True
    baseline: bool = False
    uses_labels: bool = False
    needs: tuple[str, ...] = ()
    weights: bool = True
    encodes: bool = True


_VICREG = "vicreg:VICReg"
_LE = "laplacian:LaplacianEigenmaps"
_INFOS = (
    MethodInfo("vicreg", "VICReg", True, "invariance, variance and covariance on two views", _VICREG),
    MethodInfo(
        "vicreg-novar",
        "VICReg, no variance",
        True,
        "ablation: VICReg without the variance term",
        _VICREG,
        {"variance_weight": 0.0},
    ),
    MethodInfo(
        "vicreg-noinv",
        "VICReg, no invariance",
        True,
        "ablation: VICReg without the invariance term",
        _VICREG,
        {"invariance_weight": 0.0},
    ),
    MethodInfo(
        "vicreg-nocov",
        "VICReg, no covariance",
        True,
        "ablation: VICReg without the covariance term",
        _VICREG,
        {"covariance_weight": 0.0},
    ),
    MethodInfo(
        "vicreg-4views", "VICReg, 4 views", True, "four views per image instead of two", _VICREG, {"n_views": 4}
    ),
    MethodInfo("ngn", "NGN", True, "positives are neighbours under a frozen VICReg", "ngn:NGN", needs=("vicreg",)),
    MethodInfo(
        "ngn-cosine",
        "NGN, cosine",
        True,
        "NGN with cosine instead of L2 neighbours",
        "ngn:NGN",
        {"neighbors_metric": "cosine"},
        needs=("vicreg",),
    ),
    MethodInfo(
        "ngn-augmented",
        "NGN, augmented",
        True,
        "NGN with augmentations on both images",
        "ngn:NGN",
        {"augment": True},
        needs=("vicreg",),
    ),
    MethodInfo(
        "ngn-pixels",
        "NGN, pixel neighbours",
        True,
        "NGN with neighbours under raw pixels",
        "ngn:NGN",
        {"neighbors_from": "pixels"},
    ),
    MethodInfo(
        "ngn-oracle",
        "NGN, same class (oracle)",
        True,
        "NGN with any images of the class for neighbours: uses labels",
        "ngn:NGN",
        {"neighbors_from": "labels"},
        uses_labels=True,
    ),
    MethodInfo(
        "ngn-filtered",
        "NGN, nearest of the class (oracle)",
        True,
        "NGN with the nearest images of the class: uses labels",
        "ngn:NGN",
        {"neighbors_same_class": True},
        needs=("vicreg",),
        uses_labels=True,
    ),
    MethodInfo("lo", "LO", True, "Latent Optimization: a code per image, no encoder", "lo:LatentOptimization"),
    MethodInfo(
        "lo-naive",
        "LO, code per view",
        True,
        "the naive form: a free code per view",
        "lo:LatentOptimization",
        {"code_per": "view"},
    ),
    MethodInfo(
        "free-codes",
        "free codes",
        True,
        "a code per image, VICReg's terms on neighbours, no encoder",
        "free_codes:FreeCodes",
        needs=("vicreg",),
        encodes=False,
    ),
    MethodInfo("barlow", "Barlow Twins", True, "cross-correlation towards the identity", "barlow:BarlowTwins"),
    MethodInfo("simclr", "SimCLR", True, "contrast with the rest of the batch", "simclr:SimCLR"),
    MethodInfo("byol", "BYOL", True, "predict a moving average of oneself", "byol:BYOL"),
    MethodInfo("simsiam", "SimSiam", True, "predict oneself, gradient stopped", "simsiam:SimSiam"),
    MethodInfo("wmse", "W-MSE", True, "whitened positives", "wmse:WMSE"),
    MethodInfo("lejepa", "LeJEPA", True, "prediction and SIGReg", "lejepa:LeJEPA"),
    MethodInfo(
        "supervised",
        "supervised (labels)",
        True,
        "ceiling: trained with labels",
        "supervised:Supervised",
        uses_labels=True,
    ),
    MethodInfo(
        "le-vicreg",
        "Laplacian eigenmaps of VICReg",
        False,
        "eigenmaps of the neighbour graph of VICReg's features",
        _LE,
        {"features_from": "vicreg"},
        needs=("vicreg",),
    ),
    MethodInfo(
        "le-random",
        "Laplacian eigenmaps, random net",
        False,
        "eigenmaps of the neighbour graph of an untrained encoder's features",
        _LE,
        {"features_from": "random"},
        needs=("random-init",),
    ),
    MethodInfo(
        "le-pixels",
        "Laplacian eigenmaps of pixels",
        False,
        "eigenmaps of the neighbour graph of raw pixels",
        _LE,
        seeded=False,
    ),
    MethodInfo(
        "hog",
        "HOG and colours",
        False,
        "baseline: gradient and colour histograms",
        "hog:HOG",
        seeded=False,
        baseline=True,
        weights=False,
    ),
    MethodInfo(
        "raw-pixels",
        "raw pixels",
        False,
        "baseline: the pixels themselves",
        "baselines:RawPixels",
        seeded=False,
        baseline=True,
        weights=False,
    ),
    MethodInfo(
        "pca",
        "PCA of pixels",
        False,
        "baseline: principal components of the pixels",
        "baselines:PixelPCA",
        seeded=False,
        baseline=True,
    ),
    MethodInfo(
        "random-init",
        "random encoder",
        False,
        "baseline: the untrained encoder",
        "baselines:RandomInit",
        baseline=True,
    ),
)
METHODS: dict[str, MethodInfo] = {info.name: info for info in _INFOS}


def method_info(name: str) -> MethodInfo:
    """The registered method ``name``, or a variant of one: "vicreg@invariance_weight=5+lr=1e-3".

    Raises:
        ConfigError: unknown method (with "did you mean"), or a variant that is not NAME@SETTING=VALUE.
    """
    base, at, tail = name.partition("@")
    if base not in METHODS:
        raise unknown("method", base, METHODS)
    info = METHODS[base]
    if not at:
        return info
    pairs = [part.partition("=") for part in tail.split("+")]
    if not all(key and equals and value for key, equals, value in pairs):
        raise ConfigError(f"method '{name}': a variant is written NAME@SETTING=VALUE, several joined by '+'.")
    overrides = {key: value for key, _, value in pairs}
    title = f"{info.title}, " + ", ".join(f"{key} {value}" for key, value in overrides.items())
    labels = reads_labels(base, overrides)
    return replace(info, name=name, title=title, overrides={**info.overrides, **overrides}, uses_labels=labels)


def reads_labels(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether the method reads labels in training, by itself or by such settings (values, or their text)."""
    same_class = str(settings.get("neighbors_same_class", False)).lower() == "true"
    return method_info(name).uses_labels or settings.get("neighbors_from") == "labels" or same_class


def filled(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that a run was recorded with, and the defaults of those that came into being since."""
    return {**default_settings(name), **method_info(name).overrides, **settings}


def rank(name: str) -> tuple[int, list[tuple[str, float]]]:
    """Sort key of methods: the order of METHODS (others last), the variants of one by setting and value (64 before 128)."""
    base, _, settings = name.partition("@")
    parts = re.split(r"(\d+(?:\.\d+)?)", settings)  # every second one is a number
    known = list(METHODS)
    place = known.index(base) if base in METHODS else len(known)
    return place, [("", float(part)) if k % 2 else (part, 0.0) for k, part in enumerate(parts)]


def needed_runs(name: str, seed: int, folder: Path) -> dict[str, Path]:
    """Folders of the runs that a method's run reads: they lie beside it in ``folder``, with the same seed."""
    return {needed: folder / f"{needed}-s{seed}" for needed in method_info(name).needs}


def create(name: str, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> Any:
    """Build a method for images of shape (3, H, W).

    Raises:
        ConfigError: unknown method or setting (with "did you mean"), or an illegal value.
    """
    info = method_info(name)
    return _class(info)({**settings, **info.overrides}, image_shape)


def known_settings(name: str) -> set[str]:
    """Names of the settings that a method takes. Raises ConfigError for an unknown method."""
    return set(default_settings(name))


def default_settings(name: str) -> dict[str, Any]:
    """The settings that a method takes, with their defaults. Raises ConfigError for an unknown method."""
    from nearkin.methods.settings import TRAIN_DEFAULTS

    info = method_info(name)
    return {**_class(info).defaults, **(TRAIN_DEFAULTS if info.trained else {}), **info.overrides}


def _class(info: MethodInfo) -> Any:
    module, attribute = info.target.split(":")
    return getattr(importlib.import_module(f"nearkin.methods.{module}"), attribute)
