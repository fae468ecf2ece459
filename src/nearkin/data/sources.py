"""Any source -> Dataset; what a set holds, in words and numbers; its images by id."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data.arrays import find_idx, load_idx, load_npz, to_images
from nearkin.data.decode import ValueRange, check_value_range
from nearkin.data.folder import load_files
from nearkin.data.imageset import Dataset, ImageSet, fingerprint
from nearkin.data.named import NAMES, load_name
from nearkin.data.parquet import load_parquet
from nearkin.data.shapes import SIZE, shapes
from nearkin.data.shards import ShardColumns, is_shards
from nearkin.data.store import is_store, load_shards, load_store
from nearkin.errors import ConfigError, DataError, unknown


def names() -> tuple[str, ...]:
    """Data sets known by name."""
    return ("shapes", *NAMES)


def _shapes(size: int | None) -> Dataset:
    made = shapes()
    if size in (None, SIZE) or made.test is None:
        return made
    train, test = (replace(part, images=to_images(part.images, "shapes", size)) for part in (made.train, made.test))
    return replace(made, train=train, test=test, fingerprint=fingerprint(train, test))


def load(
    source: str,
    *,
    labels: Path | None = None,
    size: int | None = None,
    strict: bool = False,
    cache: Path | None = None,
    progress: bool = True,
    watch: Callable[[str, NDArray[np.uint8]], object] = lambda path, image: None,
    only: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    value_range: ValueRange | None = None,
) -> Dataset:
    """Load images from a name or a path, as uint8 (N, 3, S, S).

    Args:
        source: "shapes" (built in), a torchvision name, or the path of a folder, .zip, .npz, .parquet or a
            folder with MNIST's IDX files; a store (data.store); or shards (data.shards), which are decoded into a store
            in the cache first.
        labels: CSV, Parquet or JSON with columns path, label and, optionally, split, or COCO's annotations; for folders and zips.
        size: side S in pixels. Default: the images' own if they share one, else the smallest of 32, 64, 96,
            128, 224 that is at least the median short side; the short side is resized, the middle cropped.
        strict: fail at the first unreadable file instead of listing it in ``Dataset.skipped``.
        cache: folder for downloads and decoded images; default $NEARKIN_CACHE or ~/.cache/nearkin.
        watch: given the id and uint8 (3, S, S) of each image of a folder or .zip while it is decoded, in order; of none that
            the cache holds. One whose files change meanwhile is given again.
        only: "train" or "test": the other one may be left out, which spares resizing most of a named set or of IDX files. It
            is then the data set's ``train``, without a ``test``.
        image_column, label_column: which columns of Parquet files to read; ``label_column`` also that of a ``labels`` file, or
            "none". Default: :func:`nearkin.data.parquet.choose_columns`.
        value_range: (LOW, HIGH), what is black and what is white in gray images deeper than 8 bits and in arrays of other values.
            Default: one range for the set, by its headers or values (:func:`nearkin.data.decode.common_range`).

    Raises:
        DataError: missing, empty or unreadable source. ConfigError: an illegal size, or labels where they cannot be used.
    """
    if size is not None and not 8 <= size <= 1024:
        raise ConfigError(f"size is {size}; it must lie between 8 and 1024 pixels.")
    if value_range is not None:
        try:
            value_range = check_value_range(value_range)
        except ValueError as error:
            raise ConfigError(f"value_range is {value_range}: {error}.") from error

    path = Path(source).expanduser()
    if is_store(path) or is_shards(source):
        if labels is not None:
            raise ConfigError(f"--labels is for folders and zips; {source} brings its own.")

        if is_store(path):
            return load_store(path, size)
        columns = ShardColumns(image_column, label_column)
        return load_shards(source, size, strict, cache, progress, columns, value_range)
    if not path.exists() and source in names():
        if labels is not None:
            raise ConfigError(f"--labels is for folders and zips; '{source}' brings its own.")
        if source == "shapes":
            return _shapes(size)

        return load_name(source, size=size, cache=cache, only=only)
    if not path.exists():
        if "/" in source or "." in source:
            raise DataError(f"no such file or folder: {source}")
        raise DataError(str(unknown("data set or path", source, names())))
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".npz", ".parquet"):
        if labels is not None:
            raise ConfigError(f"--labels is for folders and zips; {path.name} brings its own.")

        if suffix == ".npz":
            return load_npz(path, size, value_range)
        return load_parquet(
            path, size, strict, image_column=image_column, label_column=label_column, value_range=value_range
        )
    if path.is_file() and suffix != ".zip":
        raise DataError(f"{source}: a file of this kind cannot be read. Give a folder, .zip, .npz, .parquet or .tar.")
    if path.is_dir() and find_idx(path):
        return load_idx(path, size, only)

    return load_files(
        path,
        labels=labels,
        size=size,
        strict=strict,
        cache=cache,
        progress=progress,
        watch=watch,
        label_column=label_column,
        value_range=value_range,
    )


_TOLD = 5  # skipped files that are named


def _counts(items: ImageSet) -> dict[str, int] | None:
    if items.labels is None:
        return None
    found = Counter(items.labels.tolist())
    out = {name: found.get(k, 0) for k, name in enumerate(items.classes)}
    if found.get(-1):
        out["(no label)"] = found[-1]
    return out


def remarks(dataset: Dataset) -> list[str]:
    """What a user should be told before anything is computed: how the set was read, and the first skipped files."""
    out = [
        *dataset.notes,
        *map(str, dataset.left_out),
        *(f"skipped {item.path}: {item.reason}" for item in dataset.skipped[:_TOLD]),
    ]
    if len(dataset.skipped) > _TOLD:
        out.append(f"{len(dataset.skipped) - _TOLD} more files skipped; 'nearkin data info' lists all")
    return out


def describe(dataset: Dataset) -> dict[str, Any]:
    """A JSON-able description: sizes, classes, exact duplicates, channel statistics, what was skipped or left out, notes."""
    sets = {"train": dataset.train} | ({"test": dataset.test} if dataset.test is not None else {})
    digests = {
        name: [hashlib.md5(np.ascontiguousarray(im).data).digest() for im in s.images] for name, s in sets.items()
    }
    shared = len(set(digests["train"]) & set(digests.get("test", [])))
    sample = dataset.train.images[np.sort(np.random.default_rng(0).permutation(len(dataset.train))[:5000])] / 255.0
    description: dict[str, Any] = {
        "name": dataset.name,
        "source": dataset.source,
        "fingerprint": dataset.fingerprint,
        "image_shape": list(dataset.train.images.shape[1:]),
        "classes": list(dataset.train.classes),
        "splits": {
            name: {"images": len(s), "per_class": _counts(s), "exact_duplicates": len(s) - len(set(digests[name]))}
            for name, s in sets.items()
        },
        "exact_duplicates_across_splits": shared,
        "channel_mean": sample.mean(axis=(0, 2, 3)).round(4).tolist(),
        "channel_std": sample.std(axis=(0, 2, 3)).round(4).tolist(),
        "factors": sorted(dataset.train.factors),
        "skipped": [{"path": item.path, "reason": item.reason} for item in dataset.skipped],
        "notes": list(dataset.notes),
    }
    if dataset.left_out:
        description["left_out"] = [asdict(item) for item in dataset.left_out]
    return description


def load_all(
    data: str, *, labels: Path | None = None, size: int | None = None, strict: bool = False, progress: bool = True
) -> ImageSet:
    """Every image of a set, whatever its split, train before test. Raises what :func:`nearkin.data.load` raises."""
    dataset = load(data, labels=labels, size=size, strict=strict, progress=progress)
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
