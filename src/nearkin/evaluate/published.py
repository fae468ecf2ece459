"""Published figures on CIFAR-10 to show beside ours, each with the reason why it is not the same experiment."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from nearkin.fileio import named


@dataclass(frozen=True)
class PublishedAuroc:
    """auroc: in [0, 1], or the lowest and highest of several. note: how it was obtained."""

    name: str
    auroc: float | tuple[float, float] = field(metadata=named("AUROC"))
    note: str


# Linear probes in the reference study: of VICReg, of VICReg without the variance term, and of NGN.
REFERENCE_STUDY = {"vicreg": 0.7242, "vicreg-novar": 0.1758, "ngn": 0.3491}

_ONE_CLASS, _IMAGENET = "trained on the one class only", "features of ImageNet"
_MNIST = "CIFAR-10 against MNIST"
PUBLISHED: dict[str, tuple[PublishedAuroc, ...]] = {
    "one_class": (
        PublishedAuroc("SimCLR", 0.879, _ONE_CLASS),
        PublishedAuroc("Rot+Trans", 0.900, _ONE_CLASS),
        PublishedAuroc("CSI", 0.943, _ONE_CLASS),
        PublishedAuroc("DN2", 0.925, _IMAGENET),
        PublishedAuroc("PANDA", 0.962, f"{_IMAGENET}, adapted"),
        PublishedAuroc("MSAD", 0.986, f"{_IMAGENET}, adapted"),
    ),
    "ood": (
        PublishedAuroc("reference study, VICReg", 1.0, f"{_MNIST}, mean distance to 2 neighbours"),
        PublishedAuroc("reference study, NGN", 1.0, f"{_MNIST}, mean distance to 2 neighbours"),
        PublishedAuroc("other public solutions, VICReg", (0.86, 0.92), f"{_MNIST}, same exercise"),
        PublishedAuroc("other public solutions, NGN", (0.97, 0.998), f"{_MNIST}, same exercise"),
        PublishedAuroc("kNN (OpenOOD v1.5)", 0.9064, "supervised ResNet-18, near: CIFAR-100 and TinyImageNet"),
        PublishedAuroc("kNN (OpenOOD v1.5)", 0.9296, "supervised ResNet-18, far: MNIST, SVHN, Textures, Places"),
        PublishedAuroc("CSI", 0.893, "no labels, CIFAR-10 against CIFAR-100"),
        PublishedAuroc("SSD", 0.906, "no labels, CIFAR-10 against CIFAR-100"),
    ),
}
ONE_CLASS_CAVEAT = (
    "Published one-class methods without ImageNet see images of the one normal class only; an encoder trained on the whole set "
    "without labels has seen the anomalies' classes too, so the figures are not the same experiment."
)
NEAR_CAVEAT = "Held-out classes: the scores' training set lacks the class, but the encoder was trained, without labels, on its images."
CIFAR10 = frozenset(("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"))


def reference_study(data: str) -> dict[str, float]:
    """Accuracies of the reference study by method, for the data set "cifar10"; {} for others."""
    return REFERENCE_STUDY if data == "cifar10" else {}


def published_means(classes: Iterable[str]) -> str | None:
    """The published one-class means with what sets them apart, in words, where the classes are CIFAR-10's; else None."""
    if set(classes) != CIFAR10:
        return None
    listed = "; ".join(f"{row.name} {row.auroc:.3f} ({row.note})" for row in PUBLISHED["one_class"])
    return f"Published means over CIFAR-10's classes, one-class: {listed}. {ONE_CLASS_CAVEAT}"
