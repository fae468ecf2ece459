"""Data sets by name, downloaded by torchvision with its checksums into the cache."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data.arrays import to_images
from nearkin.data.imageset import Dataset, ImageSet, fingerprint
from nearkin.data.store import default_root
from nearkin.errors import DataError

NAMES = ("cifar10", "cifar100", "mnist", "fashion-mnist", "svhn", "stl10")
_CLASSES = {
    "cifar10": "CIFAR10",
    "cifar100": "CIFAR100",
    "mnist": "MNIST",
    "fashion-mnist": "FashionMNIST",
    "svhn": "SVHN",
    "stl10": "STL10",
}


def _open(name: str, root: Path, split: str) -> Any:
    from torchvision import datasets

    cls = getattr(datasets, _CLASSES[name])
    by_split = name in ("svhn", "stl10")
    which: dict[str, Any] = {"split": split} if by_split else {"train": split == "train"}
    try:
        return cls(str(root), download=False, **which)
    except RuntimeError:
        return cls(str(root), download=True, **which)


def _arrays(name: str, data: Any) -> tuple[NDArray[Any], NDArray[np.int64], tuple[str, ...]]:
    images = np.asarray(data.data)
    labels = np.asarray(data.labels if hasattr(data, "labels") else data.targets, dtype=np.int64)
    names = tuple(str(c).split(" - ")[-1] for c in getattr(data, "classes", range(int(labels.max()) + 1)))
    if name == "mnist":
        names = tuple(str(k) for k in range(10))
    return images, labels, names


def load_name(name: str, *, size: int | None, cache: Path | None, only: str | None = None) -> Dataset:
    """Load a named set (``only`` "train" or "test" of it), downloading it once. Raises DataError when it is neither in the cache nor to be had."""
    root = (cache or default_root()) / "downloads" / name
    sets = {}
    for split in ("train", "test") if only is None else (only,):
        try:
            root.mkdir(parents=True, exist_ok=True)
            data = _open(name, root, split)
        except Exception as error:  # URLError, RuntimeError, OSError, ... : torchvision raises many types here
            reason = " ".join(str(error).split())[:120]
            raise DataError(
                f"cannot download '{name}' ({reason}). Without network, put torchvision's files for it under {root}, "
                "or give a folder of images instead."
            ) from error
        images, labels, names = _arrays(name, data)
        ids = np.array([f"{split}/{i:05d}" for i in range(len(images))])
        sets[split] = ImageSet(to_images(images, name, size), ids, labels, names)
    train, *test = sets.values()
    return Dataset(name, name, train, test[0] if test else None, fingerprint(*sets.values()))
