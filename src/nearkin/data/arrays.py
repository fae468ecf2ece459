"""Images from .npz files and image Parquet (the layout of Hugging Face image data sets)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data.decode import decode, to_square
from nearkin.data.fingerprint import fingerprint
from nearkin.data.folder import choose_size
from nearkin.data.imageset import UNLABELLED, Dataset, ImageSet, Skipped
from nearkin.data.layout import SPLITS, train_or_test
from nearkin.data.parquetshard import class_names, open_parquet, parquet_records
from nearkin.errors import DataError, reading
from nearkin.fileio import read_arrays

_IMAGES = ("images", "x", "X")
_LABELS = ("labels", "y")


def to_images(values: NDArray[Any], where: str, size: int | None) -> NDArray[np.uint8]:
    """(N, H, W), (N, H, W, C) or (N, C, H, W), integers 0..255 or floats in [0, 1] -> uint8 (N, 3, S, S)."""
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
    if values.dtype.kind == "f":
        if not np.isfinite(values).all():
            raise DataError(f"{where}: images hold non-finite values.")
        values = values * 255 + 0.5 if values.max() <= 1 else values
    if values.min() < 0 or values.max() >= 256:
        raise DataError(
            f"{where}: pixel values must lie in 0..255 (or floats in [0, 1]); got {values.min()}..{values.max()}."
        )
    images = values.astype(np.uint8)
    images = np.repeat(images, 3, axis=1) if images.shape[1] == 1 else images[:, :3]
    height, width = images.shape[2:]
    side = size or choose_size([(width, height)])
    if (height, width) != (side, side):
        from PIL import Image

        images = np.stack(
            [to_square(Image.fromarray(np.ascontiguousarray(im.transpose(1, 2, 0))), side) for im in images]
        )
    return np.ascontiguousarray(images)


def load_npz(path: Path, size: int | None) -> Dataset:
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
    found, codes = np.unique(np.concatenate(given), return_inverse=True) if given else ((), np.zeros(0, np.int64))
    with reading(f"{path}: the labels' text"):
        classes = tuple(name.decode() if isinstance(name, bytes) else str(name) for name in found)
    sets = {}
    for split, (values, labels) in pairs.items():
        images = to_images(values, f"{path} ({split})", size)
        numbers = None
        if labels is not None:
            numbers, codes = codes[: len(images)].astype(np.int64), codes[len(images) :]
        ids = np.array([f"{split}/{i:06d}" for i in range(len(images))])
        sets[split] = ImageSet(images, ids, numbers, classes if labels is not None else ())
    train, test = sets["train"], sets.get("test")
    return Dataset(path.stem, str(path), train, test, fingerprint(train, test))


def load_parquet(path: Path, size: int | None, strict: bool) -> Dataset:
    """A column of encoded images (struct with "bytes", or plain binary), optionally label and split columns."""
    file = open_parquet(path, str(path))
    decoded, labels, ids, splits = [], [], [], []
    skipped: list[Skipped] = []
    for record in parquet_records(file, str(path)):
        try:
            if record.problem:
                raise ValueError(record.problem)
            decoded.append(decode(record.data))
        except ValueError as error:
            skipped.append(Skipped(record.key, str(error)))
            continue
        labels.append(record.label)
        ids.append(record.key)
        splits.append(record.split)
    if skipped and strict:
        raise DataError(f"{path}: {skipped[0].path}: {skipped[0].reason} ({len(skipped)} unreadable; --strict).")
    if not decoded:
        raise DataError(f"{path}: none of its {len(skipped)} images is readable.")
    side = size or choose_size([image.size for image in decoded])
    images = np.stack([to_square(image, side) for image in decoded])
    if len(set(ids)) < len(ids):
        ids = [f"{i:06d}-{name}" for i, name in enumerate(ids)]
    found = {label for label in labels if label is not None}
    classes = class_names(file)
    # A name twice, or a label without a name: the schema's names cannot be trusted.
    if not found <= set(classes) or len(set(classes)) < len(classes):
        classes = tuple(sorted(found))
    order = {name: k for k, name in enumerate(classes)}
    numbers = np.array([UNLABELLED if v is None else order[v] for v in labels], dtype=np.int64)
    whole = ImageSet(images, np.array(ids), numbers if found else None, classes if found else ())
    serves = train_or_test({name.lower() for name in splits} & set(SPLITS))
    is_test = np.array([serves.get(name.lower()) == "test" for name in splits])
    test = whole.take(np.flatnonzero(is_test)) if is_test.any() and not is_test.all() else None
    train = whole.take(np.flatnonzero(~is_test)) if test is not None else whole
    return Dataset(path.stem, str(path), train, test, fingerprint(train, test), tuple(skipped))
