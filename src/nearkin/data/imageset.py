"""Images as uint8 (N, 3, S, S) with ids and optional labels: sets, their rows on disk, splits and digests."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError
from nearkin.vectors import sample_rows

UNLABELLED = -1
RESIDENT = 256 * 1024**2  # bytes; a choice of rows up to this size is copied into memory, which is faster later
_CHUNK = 4096


class MappedRows:
    """``base[index]`` that stays on disk: what it has of an array's interface reads only the rows asked for.

    ``np.asarray`` of it reads all of them. Attributes as of an array: shape, dtype, ndim, nbytes.
    """

    def __init__(self, base: NDArray[np.uint8], index: NDArray[np.int64]) -> None:
        self.base, self.index = base, index
        self.shape = (len(index), *base.shape[1:])
        self.dtype, self.ndim = base.dtype, base.ndim
        self.nbytes = int(np.prod(self.shape)) * base.dtype.itemsize

    def __len__(self) -> int:
        return len(self.index)

    def __getitem__(self, key: Any) -> NDArray[np.uint8]:
        """MappedRows by number, slice, mask or index (M,), as a copy in memory."""
        out: NDArray[np.uint8] = np.asarray(self.base[self.index[key]])
        return out

    def __iter__(self) -> Iterator[NDArray[np.uint8]]:
        return (self[i] for i in range(len(self)))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype, copy=False)


def take_rows(images: NDArray[np.uint8], index: NDArray[np.int64]) -> NDArray[np.uint8]:
    """``images[index]``; of more than RESIDENT bytes of a memory map, a :class:`MappedRows` that stands in for it.

    Neighbouring rows of a memory map, in order, are a memory map again.
    """
    if isinstance(images, np.memmap) and len(index) and (np.diff(index) == 1).all():
        return images[index[0] : index[-1] + 1]
    if isinstance(images, MappedRows):
        picked = MappedRows(images.base, images.index[index])
    elif isinstance(images, np.memmap):
        picked = MappedRows(images, index)
    else:
        return images[index]
    return cast("NDArray[np.uint8]", picked) if picked.nbytes > RESIDENT else picked[:]


def in_memory(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The images, copied out of their file where that takes no more than RESIDENT bytes."""
    return np.array(images) if isinstance(images, (np.memmap, MappedRows)) and images.nbytes <= RESIDENT else images


@dataclass(frozen=True)
class ImageSet:
    """A set of equally sized images.

    Attributes:
        images: uint8 (N, C, H, W), C = 3, values 0..255. May be a read-only memory map, or rows of one (MappedRows).
        ids: str (N,), unique; for files the path relative to the data folder, with forward slashes.
        labels: int64 (N,), index into ``classes``, or -1 where unknown; None for a set without labels.
        classes: class names, in label order; empty when ``labels`` is None.
        factors: known nuisance factors per image, name -> (N,) integer or float array (built-in data set).
    """

    images: NDArray[np.uint8]
    ids: NDArray[np.str_]
    labels: NDArray[np.int64] | None = None
    classes: tuple[str, ...] = ()
    factors: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.images)

    def known_labels(self) -> NDArray[np.int64]:
        """Return the labels, int64 (N,); -1 throughout for a set without."""
        return self.labels if self.labels is not None else np.full(len(self), UNLABELLED, dtype=np.int64)

    def take(self, index: NDArray[np.int64]) -> ImageSet:
        """Return the images at ``index`` (int64 (M,)), in that order."""
        return ImageSet(
            images=take_rows(self.images, index),
            ids=self.ids[index],
            labels=None if self.labels is None else self.labels[index],
            classes=self.classes,
            factors={name: values[index] for name, values in self.factors.items()},
        )


def parts_by_name(
    images: NDArray[np.uint8], ids: NDArray[np.str_], names: Sequence[str | None], split: NDArray[np.str_]
) -> tuple[ImageSet, ImageSet | None]:
    """Train and test of N images by their class names (None: unknown) and split names "train" and "test".

    Classes are numbered in alphabetical order, over both. Where only test has images, they are what there is to learn from.
    """
    classes = tuple(sorted({name for name in names if name is not None}))
    order = {name: k for k, name in enumerate(classes)}
    labels = np.array([UNLABELLED if name is None else order[name] for name in names], dtype=np.int64)
    whole = ImageSet(images, ids, labels if classes else None, classes)
    train, test = (whole.take(np.flatnonzero(split == which)) for which in ("train", "test"))
    if not len(train):
        return test, None
    return train, test if len(test) else None


@dataclass(frozen=True)
class Skipped:
    """A file that could not be used: its path relative to the data folder, and why."""

    path: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """Files, rows, samples or links that did not become images: why, how many, and one of them."""

    reason: str
    count: int
    example: str

    def __str__(self) -> str:
        return f"left out: {self.count:,} {self.reason}, e.g. {self.example}"


class LeftOutCounter:
    """Counts what is left out by reason, in the order of the reasons' first cases."""

    def __init__(self) -> None:
        self._seen: dict[str, tuple[int, str]] = {}

    def add(self, reason: str, example: str, count: int = 1) -> None:
        """Count one, or ``count``, left out for this reason."""
        before, first = self._seen.get(reason, (0, example))
        self._seen[reason] = before + count, first

    def all(self) -> tuple[LeftOut, ...]:
        """What was counted."""
        return tuple(LeftOut(reason, count, example) for reason, (count, example) in self._seen.items())


@dataclass(frozen=True)
class Dataset:
    """A data set, as ``nearkin.data.load`` returns it.

    Attributes:
        name: short name for titles ("cifar10", "shapes", the folder's name).
        source: what the user asked for (path or name).
        train: images to learn from. A set without a split has everything here.
        test: held-out images, or None when the source has no test split.
        fingerprint: hex digest of the content (images, ids, labels).
        skipped: unreadable files.
        notes: one-line remarks for the user ("resized 120 images of mixed sizes to 64 x 64").
        left_out: whatever else did not become an image, by reason.
        value_range: what is black and what is white in gray images deeper than 8 bits; None where there are none.
    """

    name: str
    source: str
    train: ImageSet
    test: ImageSet | None
    fingerprint: str
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    value_range: tuple[float, float] | None = None


@dataclass(frozen=True)
class Splits:
    """Train / validation / test. Everything is chosen on validation; test is read once, at the end.

    Labels never reach a training batch: the loop is given ``train.images`` only.
    """

    train: ImageSet
    val: ImageSet
    test: ImageSet


def fingerprint(*sets: ImageSet | None) -> str:
    """SHA-256 (first 16 hex digits) over images, ids and labels of the sets."""
    digest = hashlib.sha256()
    for item in sets:
        if item is None:
            digest.update(b"none")
            continue
        digest.update(str(item.images.shape).encode())
        for start in range(0, len(item), _CHUNK):  # the images may be on disk, and more than fit in memory
            digest.update(np.ascontiguousarray(item.images[start : start + _CHUNK]).data)
        digest.update("\n".join(item.ids.tolist()).encode("utf-8", "surrogateescape"))
        digest.update(b"" if item.labels is None else np.ascontiguousarray(item.labels).tobytes())
    return digest.hexdigest()[:16]


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
        mask[sample_rows(np.flatnonzero(groups == value), amount, rng)] = True
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
