"""Train, validation and test: fixed by a seed, stratified where labels exist."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from nearkin.data.imageset import Dataset, ImageSet, Splits
from nearkin.data.rows import in_memory
from nearkin.errors import ConfigError, DataError


def _choose(items: ImageSet, n: int, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A mask of exactly n images, spread over the classes in proportion (largest remainders)."""
    mask = np.zeros(len(items), dtype=bool)
    groups = items.labels if items.labels is not None else np.zeros(len(items), dtype=np.int64)
    values, counts = np.unique(groups, return_counts=True)
    exact = counts * n / len(items)
    take = np.floor(exact).astype(int)
    for extra in np.argsort(take - exact, kind="stable")[: n - take.sum()]:
        take[extra] += 1
    for value, amount in zip(values, take, strict=True):
        mask[rng.permutation(np.flatnonzero(groups == value))[:amount]] = True
    return mask


def split(
    dataset: Dataset, *, val_fraction: float = 0.1, test_fraction: float = 0.1, seed: int = 0, subset: int | None = None
) -> Splits:
    """Hold out validation from train (and test, where the source has none).

    Args:
        subset: use only this many of the train images, drawn before validation is held out.
    Raises:
        ConfigError: fractions outside (0, 1) or an impossible subset. DataError: too few images to split.
    """
    for name, value in (("val_fraction", val_fraction), ("test_fraction", test_fraction)):
        if not 0 < value < 1:
            raise ConfigError(f"{name} is {value}; it must lie between 0 and 1.")
    train, test = dataset.train, dataset.test
    rng = np.random.default_rng(seed)
    if test is None:
        if len(train) < 10:
            raise DataError(f"{dataset.source} has {len(train)} images; at least 10 are needed to train and to test.")
        mask = _choose(train, max(1, round(len(train) * test_fraction)), rng)
        train, test = train.take(np.flatnonzero(~mask)), train.take(np.flatnonzero(mask))
    if subset is not None:
        if not subset >= 10:
            raise ConfigError(f"subset is {subset}; it must be at least 10.")
        if subset < len(train):
            train = train.take(np.flatnonzero(_choose(train, subset, rng)))
    if len(train) < 8:
        raise DataError(f"{dataset.source} has {len(train)} training images; at least 8 are needed.")
    mask = _choose(train, max(1, round(len(train) * val_fraction)), rng)
    # Where train and val are copies, a test set that stays in the file would keep all of that mapped.
    test = replace(test, images=in_memory(test.images))
    return Splits(train.take(np.flatnonzero(~mask)), train.take(np.flatnonzero(mask)), test)


def check_trainable(images: NDArray[np.uint8], source: str) -> None:
    """Raise DataError when nothing can be learned: fewer than 2 images, or all of them identical."""
    if len(images) < 2:
        raise DataError(f"{source} has {len(images)} image; an embedding needs at least 2, and a study at least 10.")
    first = images[0]
    if all((images[i : i + 4096] == first).all() for i in range(0, len(images), 4096)):
        raise DataError(f"all {len(images)} images of {source} are identical; there is nothing to learn.")
