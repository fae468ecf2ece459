"""Published figures to stand beside ours, each with what makes it not the same experiment."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

PUBLISHED: dict[str, list[dict[str, Any]]] = {
    "one_class": [
        {"name": "SimCLR", "AUROC": 0.879, "note": "trained on the one class only"},
        {"name": "Rot+Trans", "AUROC": 0.900, "note": "trained on the one class only"},
        {"name": "CSI", "AUROC": 0.943, "note": "trained on the one class only"},
        {"name": "DN2", "AUROC": 0.925, "note": "features of ImageNet"},
        {"name": "PANDA", "AUROC": 0.962, "note": "features of ImageNet, adapted"},
        {"name": "MSAD", "AUROC": 0.986, "note": "features of ImageNet, adapted"},
    ],
    "ood": [
        {
            "name": "reference study, VICReg",
            "AUROC": 1.0,
            "note": "CIFAR-10 against MNIST, mean distance to 2 neighbours",
        },
        {"name": "reference study, NGN", "AUROC": 1.0, "note": "CIFAR-10 against MNIST, mean distance to 2 neighbours"},
        {
            "name": "other public solutions, VICReg",
            "AUROC": [0.86, 0.92],
            "note": "CIFAR-10 against MNIST, same exercise",
        },
        {
            "name": "other public solutions, NGN",
            "AUROC": [0.97, 0.998],
            "note": "CIFAR-10 against MNIST, same exercise",
        },
        {
            "name": "kNN (OpenOOD v1.5)",
            "AUROC": 0.9064,
            "note": "supervised ResNet-18, near: CIFAR-100 and TinyImageNet",
        },
        {
            "name": "kNN (OpenOOD v1.5)",
            "AUROC": 0.9296,
            "note": "supervised ResNet-18, far: MNIST, SVHN, Textures, Places",
        },
        {"name": "CSI", "AUROC": 0.893, "note": "no labels, CIFAR-10 against CIFAR-100"},
        {"name": "SSD", "AUROC": 0.906, "note": "no labels, CIFAR-10 against CIFAR-100"},
    ],
}
ONE_CLASS_CAVEAT = (
    "Published one-class methods without ImageNet see images of the one normal class only; an encoder trained on the whole set "
    "without labels has seen the anomalies' classes too, so the figures are not the same experiment."
)
NEAR_CAVEAT = "Held-out classes: the scores' training set lacks the class, but the encoder was trained, without labels, on its images."
CIFAR10 = frozenset(("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"))


def published_means(classes: Iterable[str]) -> str | None:
    """The published one-class means with what sets them apart, in words, where the classes are CIFAR-10's; else None."""
    if set(classes) != CIFAR10:
        return None
    listed = "; ".join(f"{row['name']} {row['AUROC']:.3f} ({row['note']})" for row in PUBLISHED["one_class"])
    return f"Published means over CIFAR-10's classes, one-class: {listed}. {ONE_CLASS_CAVEAT}"
