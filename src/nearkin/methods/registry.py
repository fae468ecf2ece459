"""The methods by name: what each is called, what it needs and keeps, and which runs a study of some of them consists of.

This is a table, and not a decorator beside each class, because method modules import torch, and commands that only name
methods (``--help``, completion, ``runs``, ``doctor``) must not wait for it. Importing this module imports no torch;
``create``, ``open_method`` and the functions about settings do.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nearkin.errors import ConfigError, DataError, reading, unknown
from nearkin.fileio import read_object
from nearkin.folders import CONFIG, WEIGHTS, run_name
from nearkin.methods.base import Method, resolve

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class MethodInfo:
    """A registered method.

    Attributes:
        target: its class, as "module.Class" of this package.
        overrides: settings fixed by the name, as typed after --set; a variant's and an alias's.
        trained: whether ``fit`` runs the training loop (and so leaves curves).
        seeded: whether results depend on the seed.
        baseline: whether it learns nothing, or next to nothing: what the others have to beat.
        uses_labels: whether training reads labels; such a method is no competitor.
        needs: methods whose runs (of the same seed) this one reads; a study trains them first.
        encodes: whether a finished run embeds images that are not its study's.
        weights: whether a run keeps a weights.safetensors.
        files: what else a finished run keeps. files_if: what it keeps where the setting of that name is not 0 or false.
    """

    name: str
    title: str
    summary: str
    target: str
    overrides: Mapping[str, str] = field(default_factory=dict)
    trained: bool = True
    seeded: bool = True
    baseline: bool = False
    uses_labels: bool = False
    needs: tuple[str, ...] = ()
    encodes: bool = True
    weights: bool = True
    files: tuple[str, ...] = ()
    files_if: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def own_files(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Files that a finished run with these settings keeps besides those of every method's runs."""
        return self.files + tuple(name for key, names in self.files_if.items() if settings.get(key) for name in names)


@dataclass(frozen=True)
class _Alias:
    """A variant with a name, a title and a summary of its own. changes: other fields of MethodInfo that differ."""

    name: str
    of: str
    title: str
    summary: str
    changes: Mapping[str, Any]


def alias(name: str, of: str, *, title: str, summary: str, **changes: Any) -> _Alias:
    """``name`` stands for the variant ``of``, e.g. "vicreg@variance_weight=0"."""
    return _Alias(name, of, title, summary, changes)


NEEDS = "needs"  # folder of an estimator's run with the runs that it reads, NAME-sSEED each
_NEIGHBOR_FILES = ("neighbors.json", "neighbors.safetensors")
# In the order of tables and reports.
_ENTRIES: tuple[MethodInfo | _Alias, ...] = (
    MethodInfo(
        name="vicreg",
        title="VICReg",
        summary="invariance, variance and covariance on two views",
        target="vicreg.VICRegMethod",
    ),
    alias(
        "vicreg-novar",
        of="vicreg@variance_weight=0",
        title="VICReg, no variance",
        summary="ablation: VICReg without the variance term",
    ),
    alias(
        "vicreg-noinv",
        of="vicreg@invariance_weight=0",
        title="VICReg, no invariance",
        summary="ablation: VICReg without the invariance term",
    ),
    alias(
        "vicreg-nocov",
        of="vicreg@covariance_weight=0",
        title="VICReg, no covariance",
        summary="ablation: VICReg without the covariance term",
    ),
    alias(
        "vicreg-4views", of="vicreg@n_views=4", title="VICReg, 4 views", summary="four views per image instead of two"
    ),
    MethodInfo(
        name="ngn",
        title="NGN",
        summary="positives are neighbours under a frozen VICReg",
        target="ngn.NGNMethod",
        needs=("vicreg",),
        files=_NEIGHBOR_FILES,
    ),
    alias(
        "ngn-cosine",
        of="ngn@neighbors_metric=cosine",
        title="NGN, cosine",
        summary="NGN with cosine instead of L2 neighbours",
    ),
    alias(
        "ngn-augmented", of="ngn@augment=true", title="NGN, augmented", summary="NGN with augmentations on both images"
    ),
    alias(
        "ngn-pixels",
        of="ngn@neighbors_from=pixels",
        title="NGN, pixel neighbours",
        summary="NGN with neighbours under raw pixels",
        needs=(),
    ),
    alias(
        "ngn-oracle",
        of="ngn@neighbors_from=labels",
        title="NGN, same class (oracle)",
        summary="NGN with any images of the class for neighbours: uses labels",
        needs=(),
    ),
    alias(
        "ngn-filtered",
        of="ngn@neighbors_same_class=true",
        title="NGN, nearest of the class (oracle)",
        summary="NGN with the nearest images of the class: uses labels",
    ),
    MethodInfo(
        name="lo",
        title="LO",
        summary="Latent Optimization: a code per image, no encoder",
        target="lo.LatentOptimizationMethod",
        files_if={"distill_epochs": (f"distilled/{WEIGHTS}",)},
    ),
    alias("lo-naive", of="lo@code_per=view", title="LO, code per view", summary="the naive form: a free code per view"),
    MethodInfo(
        name="free-codes",
        title="free codes",
        summary="a code per image, VICReg's terms on neighbours, no encoder",
        target="free_codes.FreeCodesMethod",
        needs=("vicreg",),
        encodes=False,
    ),
    MethodInfo(
        name="barlow",
        title="Barlow Twins",
        summary="cross-correlation towards the identity",
        target="barlow.BarlowTwinsMethod",
    ),
    MethodInfo(
        name="simclr", title="SimCLR", summary="contrast with the rest of the batch", target="simclr.SimCLRMethod"
    ),
    MethodInfo(name="byol", title="BYOL", summary="predict a moving average of oneself", target="byol.BYOLMethod"),
    MethodInfo(
        name="simsiam", title="SimSiam", summary="predict oneself, gradient stopped", target="simsiam.SimSiamMethod"
    ),
    MethodInfo(name="wmse", title="W-MSE", summary="whitened positives", target="wmse.WMSEMethod"),
    MethodInfo(name="lejepa", title="LeJEPA", summary="prediction and SIGReg", target="lejepa.LeJEPAMethod"),
    MethodInfo(
        name="supervised",
        title="supervised (labels)",
        summary="ceiling: trained with labels",
        target="supervised.SupervisedMethod",
        uses_labels=True,
    ),
    alias(
        "le-vicreg",
        of="le-pixels@features_from=vicreg",
        title="Laplacian eigenmaps of VICReg",
        summary="eigenmaps of the neighbour graph of VICReg's features",
        needs=("vicreg",),
        seeded=True,
    ),
    alias(
        "le-random",
        of="le-pixels@features_from=random",
        title="Laplacian eigenmaps, random net",
        summary="eigenmaps of the neighbour graph of an untrained encoder's features",
        needs=("random-init",),
        seeded=True,
    ),
    MethodInfo(
        name="le-pixels",
        title="Laplacian eigenmaps of pixels",
        summary="eigenmaps of the neighbour graph of raw pixels",
        target="laplacian.LaplacianEigenmapsMethod",
        trained=False,
        seeded=False,
        files=("graph.json",),
    ),
    MethodInfo(
        name="pretrained",
        title="pretrained",
        summary="an encoder that others trained, frozen",
        target="pretrained.PretrainedMethod",
        trained=False,
        seeded=False,
        files=("encoder.json",),
    ),
    MethodInfo(
        name="hog",
        title="HOG and colours",
        summary="baseline: gradient and colour histograms",
        target="baselines.HOGMethod",
        trained=False,
        seeded=False,
        baseline=True,
        weights=False,
    ),
    MethodInfo(
        name="raw-pixels",
        title="raw pixels",
        summary="baseline: the pixels themselves",
        target="baselines.RawPixelsMethod",
        trained=False,
        seeded=False,
        baseline=True,
        weights=False,
    ),
    MethodInfo(
        name="pca",
        title="PCA of pixels",
        summary="baseline: principal components of the pixels",
        target="baselines.PixelPCAMethod",
        trained=False,
        seeded=False,
        baseline=True,
    ),
    MethodInfo(
        name="random-init",
        title="random encoder",
        summary="baseline: the untrained encoder",
        target="baselines.RandomInitMethod",
        trained=False,
        baseline=True,
    ),
)


def _variant(base: MethodInfo, name: str) -> MethodInfo:
    """``base`` with the settings that follow the "@" of ``name``."""
    pairs = [part.partition("=") for part in name.partition("@")[2].split("+")]
    if not all(key and equals and value for key, equals, value in pairs):
        raise ConfigError(f"method '{name}': a variant is written NAME@SETTING=VALUE, several joined by '+'.")
    overrides = {key: value for key, _, value in pairs}
    title = f"{base.title}, " + ", ".join(f"{key} {value}" for key, value in overrides.items())
    labels = base.uses_labels or _settings_use_labels(overrides)
    return replace(base, name=name, title=title, overrides={**base.overrides, **overrides}, uses_labels=labels)


def _settings_use_labels(settings: Mapping[str, Any]) -> bool:
    same_class = str(settings.get("neighbors_same_class", False)).lower() == "true"
    return settings.get("neighbors_from") == "labels" or same_class


def _resolved(entries: tuple[MethodInfo | _Alias, ...]) -> dict[str, MethodInfo]:
    """Name -> info, aliases filled in from the method that they are a variant of."""
    plain = {entry.name: entry for entry in entries if isinstance(entry, MethodInfo)}
    out = {}
    for entry in entries:
        if isinstance(entry, MethodInfo):
            out[entry.name] = entry
        else:
            info = _variant(plain[entry.of.partition("@")[0]], entry.of)
            out[entry.name] = replace(info, name=entry.name, title=entry.title, summary=entry.summary, **entry.changes)
    return out


METHODS: dict[str, MethodInfo] = _resolved(_ENTRIES)


# Encoders that others trained; nearkin.nets.pretrained opens them.
PACKAGED_ENCODERS = ("efficientnet-lite0", "efficientnet-lite1", "efficientnet-lite2")
ENCODER_SCHEMES = ("timm:", "hf-hub:", "torchvision:", "onnx:")


def names_encoder(text: str) -> bool:
    """Whether ``text`` names an encoder that others trained ("timm:NAME"), and no folder of a run."""
    return text in PACKAGED_ENCODERS or text.startswith(ENCODER_SCHEMES)


def method_info(name: str) -> MethodInfo:
    """The registered method ``name``, or a variant of one: "vicreg@invariance_weight=5+lr=1e-3".

    Raises:
        ConfigError: unknown method (with "did you mean"), or a variant that is not NAME@SETTING=VALUE.
    """
    base, at, _ = name.partition("@")
    if base not in METHODS:
        raise unknown("method", base, METHODS)
    return _variant(METHODS[base], name) if at else METHODS[base]


def is_variant(name: str) -> bool:
    """Whether a name is a method with other settings. Another encoder ("pretrained@encoder=...") is a row of its own."""
    return "@" in name and not name.startswith("pretrained@encoder=")


def is_seeded(name: str) -> bool:
    """Whether a method's result depends on the seed. A name that this version does not know counts as one that does."""
    info = METHODS.get(name.partition("@")[0])
    return info is None or info.seeded


def reads_labels(name: str, settings: Mapping[str, Any]) -> bool:
    """Whether training reads labels: the method always does, or these settings (values, or their text) ask for it."""
    return method_info(name).uses_labels or _settings_use_labels(settings)


def rank(name: str) -> tuple[int, list[tuple[str, float]]]:
    """Sort key of methods: the order of METHODS (others last), the variants of one by setting and value (64 before 128)."""
    base, _, settings = name.partition("@")
    parts = re.split(r"(\d+(?:\.\d+)?)", settings)  # every second one is a number
    known = list(METHODS)
    place = known.index(base) if base in METHODS else len(known)
    return place, [("", float(part)) if k % 2 else (part, 0.0) for k, part in enumerate(parts)]


def without_repeats(names: tuple[str, ...], settings: dict[str, Any]) -> tuple[str, ...]:
    """``names``, each once, with a variant that changes nothing under ``settings`` replaced by its method."""

    def plain(name: str) -> str:
        base = method_info(name.partition("@")[0])
        has = {**settings, **base.overrides}
        own = method_info(name).overrides.items()
        return base.name if all(key in has and str(has[key]) == str(value) for key, value in own) else name

    return tuple(dict.fromkeys(map(plain, names)))


def allowed_by_labels(names: tuple[str, ...], labels: NDArray[np.int64] | None) -> tuple[str, ...]:
    """The methods among ``names`` that can train with these labels (-1: none); some need a label for every image.

    Raises:
        DataError: none of them can.
    """
    if labels is not None and (labels >= 0).all():
        return names
    kept = tuple(name for name in names if not method_info(name).uses_labels)
    if not kept:
        raise DataError(
            f"{', '.join(names)}: training needs a label for every training image. Give them with --labels."
        )
    return kept


def with_needs(names: tuple[str, ...]) -> tuple[str, ...]:
    """``names`` in an order in which each method comes after those whose runs it reads; missing ones are added."""
    out: dict[str, None] = {}
    for name in names:
        for needed in method_info(name).needs:
            out.setdefault(needed)
        out.setdefault(name)
    return tuple(out)


def planned_runs(names: tuple[str, ...], seeds: tuple[int, ...]) -> list[tuple[str, int]]:
    """(method, seed) of every run of a study; a method whose result depends on no seed runs with the first one only."""
    methods = with_needs(names)
    return [(name, seed) for seed in seeds for name in methods if seed == seeds[0] or method_info(name).seeded]


# Settings and classes; from here on torch is imported.


def method_class(name: str) -> type[Method]:
    """The class of a method or variant. Raises ConfigError for an unknown method."""
    module, _, attribute = method_info(name).target.partition(".")
    found: type[Method] = getattr(importlib.import_module(f"nearkin.methods.{module}"), attribute)
    return found


def default_settings(name: str) -> dict[str, Any]:
    """The settings that a method takes, with their defaults. Raises ConfigError for an unknown method or setting."""
    info = method_info(name)
    return resolve(method_class(name).defaults, dict(info.overrides), train=info.trained)


def known_settings(name: str) -> set[str]:
    """Names of the settings that a method takes. Raises ConfigError for an unknown method."""
    return set(default_settings(name))


def filled(name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """``settings`` as a run recorded them, and the defaults of settings that did not exist then."""
    return {**default_settings(name), **settings}


def create(name: str, settings: Mapping[str, Any], image_shape: tuple[int, int, int]) -> Method:
    """Build a method for images of shape (3, S, S).

    Raises:
        ConfigError: unknown method or setting (with "did you mean"), or an illegal value.
    """
    return method_class(name)({**settings, **method_info(name).overrides}, image_shape)


def needed_runs(name: str, seed: int, folder: Path) -> dict[str, Path]:
    """Method -> folder of each run that a run of ``name`` reads: beside it in ``folder``, with the same seed."""
    return {needed: folder / run_name(needed, seed) for needed in method_info(name).needs}


def open_method(folder: Path, image_shape: tuple[int, int, int], device: str = "auto") -> Method:
    """The method of the finished run in ``folder``, with its weights and the runs that it reads.

    Args:
        image_shape: (3, S, S) of the images, as large as those that the run was trained on.
    Raises:
        DataError: no run there, or a damaged one.
    """
    config = read_object(folder / CONFIG, method=str, seed=int, settings=dict)
    with reading(f"the run {folder}", f"See what is wrong with 'nearkin doctor {folder}'."):
        method = create(config["method"], config["settings"], image_shape)
        runs = needed_runs(config["method"], config["seed"], folder.parent)
        # Where an estimator keeps the runs that it made for itself.
        runs |= {path.name.rpartition("-s")[0]: path for path in folder.glob(f"{NEEDS}/*-s*")}
        method.load(folder, device, runs)
    return method
