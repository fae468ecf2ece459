"""MNIST's IDX files, gzipped or not, from a folder (LeCun et al. 1998)."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import IO, cast

import numpy as np
from numpy.typing import NDArray

from nearkin.data.fingerprint import fingerprint
from nearkin.data.imageset import Dataset, ImageSet
from nearkin.errors import DataError, reading
from nearkin.fileio import check_unpacked

_STEMS = {"train": ("train-images", "train-labels"), "test": ("t10k-images", "t10k-labels")}
_LONGEST_HEADER = 20


def _header(data: bytes, where: str) -> tuple[tuple[int, ...], int]:
    """The shape that the first bytes promise, and how long the header is."""
    if len(data) < 4 or data[0] or data[1] or data[2] != 8 or not 1 <= data[3] <= 4:
        raise DataError(f"{where} is no IDX file of unsigned bytes (bad magic number).")
    rank = data[3]
    header = 4 + 4 * rank
    if len(data) < header:
        raise DataError(f"{where} is cut off inside its header.")
    return tuple(int(n) for n in np.frombuffer(data, ">u4", rank, 4)), header


def parse_idx(data: bytes, where: str) -> NDArray[np.uint8]:
    """Parse the IDX format: 0, 0, type 8 (unsigned byte), rank, big-endian sizes, values.

    Raises:
        DataError: another type, a header that does not match the length, or more than 4 dimensions.
    """
    shape, header = _header(data, where)
    expected = math.prod(shape)
    if len(data) - header != expected:
        raise DataError(
            f"{where}: the header promises {' x '.join(map(str, shape))} values, the file holds {len(data) - header}."
        )
    with reading(where):  # no values, and sizes whose product overflows
        return np.frombuffer(data, np.uint8, expected, header).reshape(shape)


def _read(path: Path) -> bytes:
    """The bytes that the header promises, and some more if there are more. Raises DataError: unreadable, or a bomb."""
    with reading(path):
        if not path.is_file():  # opening a pipe would wait for ever
            raise ValueError("not a regular file")
        with cast(IO[bytes], gzip.open(path) if path.suffix == ".gz" else open(path, "rb")) as handle:
            head = handle.read(_LONGEST_HEADER)
            promised = math.prod(_header(head, str(path))[0])
            check_unpacked(path, promised, path.stat().st_size)
            return head + handle.read(promised + 1)


def find_idx(folder: Path) -> dict[str, Path]:
    """IDX files in ``folder`` or its raw/ or MNIST/raw/, by stem ("train-images", ...); empty if there are none."""
    for base in (folder, folder / "raw", folder / "MNIST" / "raw"):
        if not base.is_dir():
            continue
        found: dict[str, Path] = {}
        for stem in (s for pair in _STEMS.values() for s in pair):
            for path in sorted(base.glob(f"{stem}*ubyte*")):
                if path.suffix in (".gz", "") or path.name.endswith("ubyte"):
                    found.setdefault(stem, path)
        if any(stem.endswith("images") for stem in found):
            return found
    return {}


def load_idx(folder: Path, size: int | None, only: str | None = None) -> Dataset:
    """Load train and test (or whichever is there; ``only`` one of them if it is). Gray images become three equal channels."""
    from nearkin.data.arrays import to_images

    found = find_idx(folder)
    classes = tuple(str(k) for k in range(10))
    sets: dict[str, ImageSet] = {}
    for split, (images_stem, labels_stem) in _STEMS.items():
        alone = only is not None and _STEMS[only][0] in found
        if images_stem not in found or (alone and split != only):
            continue
        images = parse_idx(_read(found[images_stem]), str(found[images_stem]))
        if images.ndim != 3:
            raise DataError(f"{found[images_stem]}: expected images (N, H, W), got {images.ndim} dimensions.")
        labels = None
        if labels_stem in found:
            labels = parse_idx(_read(found[labels_stem]), str(found[labels_stem])).astype(np.int64)
            if labels.shape != (len(images),):
                raise DataError(f"{found[labels_stem]}: {labels.size} labels for {len(images)} images.")
        ids = np.array([f"{split}/{i:05d}" for i in range(len(images))])
        names = (
            classes
            if labels is None or not len(labels) or labels.max() < 10
            else tuple(str(k) for k in range(labels.max() + 1))
        )
        sets[split] = ImageSet(to_images(images, str(folder), size), ids, labels, names if labels is not None else ())
    train = sets.get("train") or sets["test"]
    test = sets.get("test") if "train" in sets else None
    return Dataset("mnist", str(folder), train, test, fingerprint(train, test))
