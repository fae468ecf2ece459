"""Pixels for the rows of an embedding: what needs thumbnails or looks at images reads them through here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.data import ImageSet
from nearkin.data.store import is_store
from nearkin.errors import DataError


def load_all(
    data: str, *, labels: Path | None = None, size: int | None = None, strict: bool = False, progress: bool = True
) -> ImageSet:
    """Every image of a set, whatever its split, train before test. Raises what :func:`nearkin.data.load` raises."""
    dataset = nd.load(data, labels=labels, size=size, strict=strict, progress=progress)
    train, test = dataset.train, dataset.test
    if test is None:
        return train
    shared = {name for name in train.factors if name in test.factors}
    known = train.labels is not None or test.labels is not None
    return ImageSet(
        images=np.concatenate([train.images, test.images]),
        ids=np.concatenate([train.ids, test.ids]),
        labels=np.concatenate([train.known_labels(), test.known_labels()]) if known else None,
        classes=train.classes or test.classes,
        factors={name: np.concatenate([train.factors[name], test.factors[name]]) for name in sorted(shared)},
    )


def images_of(ids: NDArray[np.str_], data: str, *, size: int | None = None, progress: bool = True) -> ImageSet:
    """The images with the given ids, in the ids' order, with labels and factors where the set has them.

    Args:
        size: the side they are brought to, for folders and the like: that at which they were embedded. Stores keep theirs.
    Raises:
        DataError: an id that the set does not have (says which, and what the set's ids look like).
    """
    whole = load_all(data, size=None if is_store(Path(data).expanduser()) else size, progress=progress)
    where = {str(name): k for k, name in enumerate(whole.ids)}
    rows = [where.get(str(i), -1) for i in ids]
    missing = [str(i) for i, row in zip(ids, rows, strict=True) if row < 0]
    if missing:
        raise DataError(
            f"--images {data}: {len(missing)} of {len(ids)} ids are not in it, e.g. '{missing[0]}'; its ids look like "
            f"'{whole.ids[0]}'. Give the images that the embedding was made of."
        )
    return whole.take(np.array(rows, dtype=np.int64))
