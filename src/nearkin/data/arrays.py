"""Images in arrays: .npz files, and MNIST's IDX files (LeCun et al. 1998), gzipped or not."""

from __future__ import annotations

import gzip
import math
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearkin.data.decode import ValueRange, choose_size, over_white, scaled, to_square
from nearkin.data.imageset import UNLABELLED, Dataset, ImageSet, fingerprint
from nearkin.errors import DataError, reading
from nearkin.fileio import check_unpacked, label_text, read_arrays

_IMAGES = ("images", "x", "X")
_LABELS = ("labels", "y")
_STEMS = {"train": ("train-images", "train-labels"), "test": ("t10k-images", "t10k-labels")}
_LONGEST_HEADER = 20


def to_images(
    values: NDArray[Any], where: str, size: int | None, value_range: ValueRange | None = None
) -> NDArray[np.uint8]:
    """(N, H, W), (N, H, W, C) or (N, C, H, W), integers 0..255 or floats in [0, 1] -> uint8 (N, 3, S, S).

    A fourth channel is transparency, which is laid over white. ``value_range``: other values, what is black and what is white.
    """
    if values.dtype.kind not in "uif" or values.ndim not in (3, 4) or 0 in values.shape:
        raise DataError(
            f"{where}: images must be numbers (N, H, W), (N, H, W, C) or (N, C, H, W); got {values.dtype} {values.shape}."
        )
    if values.ndim == 3:
        values = values[:, None]
    elif values.shape[1] not in (1, 3, 4) and values.shape[3] in (1, 3, 4):
        values = values.transpose(0, 3, 1, 2)
    if values.shape[1] not in (1, 3, 4):
        raise DataError(f"{where}: images need 1, 3 or 4 channels; got shape {values.shape}.")
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        raise DataError(f"{where}: images hold non-finite values.")
    if value_range is not None:
        images = np.stack([scaled(image, value_range) for image in values])
    else:
        if values.dtype.kind == "f":
            values = values * 255 + 0.5 if values.max() <= 1 else values
        if values.min() < 0 or values.max() >= 256:
            raise DataError(
                f"{where}: pixel values must lie in 0..255 (or floats in [0, 1]); got {values.min()}..{values.max()}. "
                "Say with --value-range LOW,HIGH what is black and what is white."
            )
        images = values.astype(np.uint8)
    if images.shape[1] == 4:
        opaque = [over_white(Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))) for image in images]
        images = np.stack([np.asarray(image).transpose(2, 0, 1) for image in opaque])
    images = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images
    height, width = images.shape[2:]
    side = size or choose_size([(width, height)])
    if (height, width) != (side, side):
        images = np.stack(
            [to_square(Image.fromarray(np.ascontiguousarray(im.transpose(1, 2, 0))), side) for im in images]
        )
    return np.ascontiguousarray(images)


def load_npz(path: Path, size: int | None, value_range: ValueRange | None = None) -> Dataset:
    """Arrays images (or x) and, optionally, labels (or y); or x_train, y_train, x_test, y_test.

    Labels are numbers, or strings as class names. Raises DataError for object arrays (they would need pickle).
    """
    arrays = read_arrays(path)
    pairs: dict[str, tuple[NDArray[Any], NDArray[Any] | None]] = {}
    if "x_train" in arrays:
        pairs["train"] = arrays["x_train"], arrays.get("y_train")
        if "x_test" in arrays:
            pairs["test"] = arrays["x_test"], arrays.get("y_test")
    else:
        key = next((name for name in _IMAGES if name in arrays), None)
        if key is None:
            raise DataError(f"{path}: no array named images, x or x_train; found: {', '.join(arrays) or 'none'}.")
        pairs["train"] = arrays[key], next((arrays[name] for name in _LABELS if name in arrays), None)
    kinds = set()
    for split, (values, labels) in pairs.items():
        if labels is None:
            continue
        if values.ndim and labels.size != len(values):
            raise DataError(f"{path} ({split}): {labels.size} labels for {len(values)} images.")
        kinds.add("text" if labels.dtype.kind in "US" else "numbers" if labels.dtype.kind in "biuf" else "neither")
    if len(kinds) > 1 or "neither" in kinds:
        raise DataError(f"{path}: labels must all be numbers or all be text.")
    given = [labels.ravel() for _, labels in pairs.values() if labels is not None]
    values_there, codes = (
        np.unique(np.concatenate(given), return_inverse=True) if given else ((), np.zeros(0, np.int64))
    )
    with reading(f"{path}: the labels' text"):
        named = [label_text(value) for value in values_there]
    classes = tuple(dict.fromkeys(name for name in named if name is not None))  # in the order of the values
    order = {name: k for k, name in enumerate(classes)}
    numbers_of = np.array([UNLABELLED if name is None else order[name] for name in named], dtype=np.int64)
    if given:
        codes = numbers_of[codes]
    sets = {}
    for split, (values, labels) in pairs.items():
        images = to_images(values, f"{path} ({split})", size, value_range)
        numbers = None
        if labels is not None and classes:
            numbers, codes = codes[: len(images)].astype(np.int64), codes[len(images) :]
        ids = np.array([f"{split}/{i:06d}" for i in range(len(images))])
        sets[split] = ImageSet(images, ids, numbers, classes if numbers is not None else ())
    train, test = sets["train"], sets.get("test")
    return Dataset(path.stem, str(path), train, test, fingerprint(train, test))


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
    with reading(where):  # no values, or sizes whose product overflows
        return np.frombuffer(data, np.uint8, expected, header).reshape(shape)


def _read(path: Path) -> bytes:
    """Read the bytes that the header promises, and a few more if there are more. Raises DataError: unreadable, or a bomb."""
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
        files: dict[str, Path] = {}
        for stem in (s for pair in _STEMS.values() for s in pair):
            for path in sorted(base.glob(f"{stem}*ubyte*")):
                if path.suffix in (".gz", "") or path.name.endswith("ubyte"):
                    files.setdefault(stem, path)
        if any(stem.endswith("images") for stem in files):
            return files
    return {}


def load_idx(folder: Path, size: int | None, only: str | None = None) -> Dataset:
    """Load train and test (or whichever is there; ``only`` one of them if it is). Gray images become three equal channels."""
    files = find_idx(folder)
    classes = tuple(str(k) for k in range(10))
    sets: dict[str, ImageSet] = {}
    for split, (images_stem, labels_stem) in _STEMS.items():
        alone = only is not None and _STEMS[only][0] in files
        if images_stem not in files or (alone and split != only):
            continue
        images = parse_idx(_read(files[images_stem]), str(files[images_stem]))
        if images.ndim != 3:
            raise DataError(f"{files[images_stem]}: expected images (N, H, W), got {images.ndim} dimensions.")
        labels = None
        if labels_stem in files:
            labels = parse_idx(_read(files[labels_stem]), str(files[labels_stem])).astype(np.int64)
            if labels.shape != (len(images),):
                raise DataError(f"{files[labels_stem]}: {labels.size} labels for {len(images)} images.")
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
