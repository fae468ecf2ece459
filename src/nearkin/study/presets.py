"""Presets: which data, methods, seeds and hyper-parameters a study uses. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from nearkin.errors import ConfigError, unknown
from nearkin.methods import METHODS

_BASELINES = ("raw-pixels", "pca", "random-init")
_BATCHES = (64, 128, 256, 512)
METHOD_NAMES = tuple(METHODS)  # NAME@... of each is legal, too
# Names of groups of methods in --methods.
GROUPS: dict[str, tuple[str, ...]] = {
    "main": ("vicreg", "vicreg-novar", *_BASELINES),
    "study": (
        "vicreg", "vicreg-novar", "ngn", "lo", "free-codes", "le-vicreg", "le-random", "le-pixels", *_BASELINES,
    ),
    "ablations": ("vicreg", "vicreg-noinv", "vicreg-novar", "vicreg-nocov"),
    "neighbours": (
        "ngn", "ngn-cosine", "ngn-augmented", "ngn-pixels", "ngn-filtered", "ngn-oracle", "ngn@refresh_epochs=3",
    ),  # fmt: skip
    "relatives": ("barlow", "simclr", "byol", "simsiam", "wmse", "lejepa", "vicreg-4views"),
    "ceilings": ("hog", "supervised"),
    "weights": tuple(
        f"vicreg@{term}_weight={value}"
        for term, values in (("invariance", (2.5, 5, 25)), ("variance", (5, 10, 50)), ("covariance", (0.2, 5)))
        for value in values
    ),
    "codes": tuple(f"{form}@batch_size={size}" for form in ("lo", "lo-naive") for size in _BATCHES),
}  # fmt: skip
# Not of other people's encoders: presets run these groups, and an encoder is named by whoever asks for it.
GROUPS["all"] = tuple(dict.fromkeys(name for group in GROUPS.values() for name in group))


def expand_methods(text: str) -> tuple[str, ...]:
    """ "study,byol" -> the methods' names, groups replaced by their members, each once.

    Raises:
        ConfigError: no name, or one that is neither a method's nor a group's.
    """
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise ConfigError(f"--methods names no method. Give groups ({', '.join(GROUPS)}) or methods, joined by commas.")
    for part in parts:
        if part not in GROUPS and part.partition("@")[0] not in METHODS:
            raise unknown("method or group", part, (*GROUPS, *METHODS))
    return tuple(dict.fromkeys(name for part in parts for name in GROUPS.get(part, (part,))))


@dataclass(frozen=True)
class Preset:
    """Attributes:
    settings: hyper-parameters of the trained methods (and the encoder of the untrained ones).
    gpu_settings: what changes on a GPU. subset: images of train to use, None for all; gpu_subset likewise.
    """

    name: str
    description: str
    settings: dict[str, Any]
    gpu_settings: dict[str, Any] = field(default_factory=dict)
    methods: tuple[str, ...] = GROUPS["study"]
    seeds: tuple[int, ...] = (0,)
    subset: int | None = None
    gpu_subset: int | None = None
    data: str = "shapes"

    def on(self, device: str) -> tuple[dict[str, Any], int | None]:
        """Hyper-parameters and subset on "cpu" or "cuda"."""
        if device == "cuda":
            return self.settings | self.gpu_settings, self.gpu_subset
        return dict(self.settings), self.subset


# Chosen on CIFAR-10's validation split; LOG.md has the experiments.
_CPU = {
    "encoder": "fast",
    "projector": (1024, 1024),
    "recipe": "simple",
    "convention": "official",
    "invariance_weight": 10.0,
    "optimizer": "muon",
    "lr": 2e-3,
    "muon_lr": 0.02,
    "weight_decay": 1e-2,
    "batch_size": 256,
    "epochs": 13,
    "warmup_epochs": 0.6,
    "eval_every": 1,
}

# The protocol of the reference study (its encoder, projector, weights, optimiser and views).
_REFERENCE = {
    "encoder": "reference",
    "projector": (512, 512, 512),
    "recipe": "reference",
    "convention": "official",
    "optimizer": "adam",
    "lr": 3e-4,
    "weight_decay": 1e-6,
    "schedule": "constant",
    "warmup_epochs": 0.0,
    "batch_size": 256,
    "epochs": 10,
    "eval_every": 1,
}

PRESETS: dict[str, Preset] = {
    preset.name: preset
    for preset in (
        Preset(
            "quick",
            "the demo: the study's methods with a tiny net for a few epochs",
            {
                **_CPU,
                "encoder": "fast-mini",
                "epochs": 3,
                "batch_size": 128,
                "muon_lr": 0.04,
                "projector": (512, 512),
                "decoder_width": 64,
                "distill_epochs": 2,
                "infer_steps": 12,
            },
        ),
        Preset("cpu", "the fast net on all images, for a laptop", _CPU),
        Preset(
            "hour",
            "VICReg with 4096 features, as good as an hour on two cores makes it, beside baselines",
            {**_CPU, "encoder": "fast-4096", "stem": "axes", "epochs": 40, "eval_every": 4},
            methods=("vicreg", *_BASELINES),
        ),
        Preset(
            "reference",
            "the reference study's protocol; on a CPU 10,000 training images and 10 epochs, on a GPU all and 30",
            _REFERENCE,
            gpu_settings={"epochs": 30},
            methods=GROUPS["main"],
            subset=10_000,
        ),
        Preset(
            "full",
            "every method, ablation, grid and relative with three seeds; on a CPU on 10,000 training images",
            {**_CPU, "encoder": "fast-tiny", "epochs": 10, "eval_every": 2},
            gpu_settings={"encoder": "fast", "epochs": 30},
            methods=GROUPS["all"],
            seeds=(0, 1, 2),
            subset=10_000,
        ),
    )
}


def get_preset(name: str) -> Preset:
    """Look a preset up by name. Raises ConfigError with "did you mean"."""
    if name not in PRESETS:
        raise unknown("preset", name, PRESETS)
    return PRESETS[name]
