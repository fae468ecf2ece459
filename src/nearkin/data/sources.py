"""Any source -> Dataset; what a set holds, in words and numbers; its images by id."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.data.arrays import find_idx, load_idx, load_npz, to_images
from nearkin.data.decode import AS_FOUND, ReadOptions, check_value_range
from nearkin.data.folder import load_files
from nearkin.data.imageset import Dataset, ImageSet, fingerprint
from nearkin.data.named import NAMES, load_name
from nearkin.data.parquet import load_parquet
from nearkin.data.shapes import SIZE, shapes
from nearkin.data.shards import is_shards
from nearkin.data.store import is_store, load_shards, load_store
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.vectors import sample_rows


def names() -> tuple[str, ...]:
    """Data sets known by name."""
    return ("shapes", *NAMES)


def _shapes(size: int | None) -> Dataset:
    made = shapes()
    if size in (None, SIZE) or made.test is None:
        return made
    train, test = (replace(part, images=to_images(part.images, "shapes", size)) for part in (made.train, made.test))
    return replace(made, train=train, test=test, fingerprint=fingerprint(train, test))


def _holds_encoded_images(source: str) -> tuple[bool, bool]:
    """Whether a source is Parquet or shards; and whether it is a folder or .zip of image files."""
    path = Path(source).expanduser()
    if is_store(path):
        return False, False
    parquet = is_shards(source) or path.suffix.lower() == ".parquet"
    return parquet, path.exists() and not parquet and path.suffix.lower() != ".npz" and not find_idx(path)


def as_trained(read: ReadOptions, trained: Any, source: str) -> ReadOptions:
    """``read`` with the range of a run's training images (its config's ``read``), if the source may hold deep gray images and
    no range was given, so that equal brightness becomes equal numbers."""
    own = ReadOptions.of(trained).value_range
    return read if read.value_range is not None or not any(_holds_encoded_images(source)) else read.used_for(own)


def _check_read(source: str, labels: Path | None, read: ReadOptions) -> None:
    """Refuse options that do not apply to the source; otherwise they would be ignored silently."""
    parquet, files = _holds_encoded_images(source)
    if read.image_column is not None and not parquet:
        raise ConfigError(f"--image-column is for Parquet files; {source} has no columns.")
    if read.label_column is not None and not parquet and (labels is None or not files):
        raise ConfigError(f"--label-column is for Parquet files and for --labels; {source} has no columns.")
    if read.value_range is not None and not (parquet or files or source.lower().endswith(".npz")):
        raise ConfigError(f"--value-range is for image files and arrays; the values of {source} are known.")


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
    read: ReadOptions = AS_FOUND,
    keep: Collection[str] = (),
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
        read: columns of Parquet and label files, and the values that are black and white.
        keep: paths of a folder or .zip that are images, even where they look like masks or lie beside the splits. Those that
            ``labels`` names are kept, too.

    Raises:
        DataError: missing, empty or unreadable source. ConfigError: an illegal size, or labels where they cannot be used.
    """
    if size is not None and not 8 <= size <= 1024:
        raise ConfigError(f"size is {size}; it must lie between 8 and 1024 pixels.")
    if read.value_range is not None:
        check_value_range(read.value_range)
    _check_read(source, labels, read)

    path = Path(source).expanduser()
    if is_store(path) or is_shards(source):
        if labels is not None:
            raise ConfigError(f"--labels is for folders and zips; {source} brings its own.")

        if is_store(path):
            return load_store(path, size)
        return load_shards(source, size, strict, cache, progress, read)
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
            return load_npz(path, size, read.value_range)
        return load_parquet(path, size, strict, read)
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
        read=read,
        keep=keep,
    )


_TOLD = 5  # skipped files that are named


def _counts(items: ImageSet) -> dict[str, int] | None:
    if items.labels is None:
        return None
    by_label = Counter(items.labels.tolist())
    out = {name: by_label.get(k, 0) for k, name in enumerate(items.classes)}
    if by_label.get(-1):
        out["(no label)"] = by_label[-1]
    return out


def remarks(dataset: Dataset) -> list[str]:
    """Notes for the user before anything is computed: how the set was read, and the first skipped files."""
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
    sample = dataset.train.images[sample_rows(len(dataset.train), 5000)] / 255.0
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
    data: str,
    *,
    size: int | None = None,
    progress: bool = True,
    read: ReadOptions = AS_FOUND,
    keep: Collection[str] = (),
) -> ImageSet:
    """Every image of a set, whatever its split, train before test. Arguments and errors as of :func:`nearkin.data.load`."""
    dataset = load(data, size=size, progress=progress, read=read, keep=keep)
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


def images_of(
    ids: NDArray[np.str_], data: str, *, size: int | None = None, progress: bool = True, read: Any = None
) -> ImageSet:
    """The images with the given ids, in the ids' order, with labels and factors where the set has them.

    Args:
        size: the side they are brought to, for folders and the like: that at which they were embedded. Stores keep theirs.
        read: how they were read when they were embedded: the entry ``read`` of the embeddings' provenance, if there is one.
    Raises:
        DataError: an id that the set does not have (says which, and what the set's ids look like).
    """
    asked, (parquet, files) = ReadOptions.of(read), _holds_encoded_images(data)
    asked = ReadOptions(
        asked.image_column if parquet else None,
        asked.label_column if parquet else None,
        asked.value_range if parquet or files else None,
    )
    side = None if is_store(Path(data).expanduser()) else size
    whole = load_all(data, size=side, progress=progress, read=asked, keep=set(ids.tolist()))
    where = {str(name): k for k, name in enumerate(whole.ids)}
    rows = [where.get(str(i), -1) for i in ids]
    missing = [str(i) for i, row in zip(ids, rows, strict=True) if row < 0]
    if missing:
        raise DataError(
            f"--images {data}: {len(missing)} of {len(ids)} ids are not in it, e.g. '{missing[0]}'; its ids look like "
            f"'{whole.ids[0]}'. Give the images that the embedding was made of."
        )
    return whole.take(np.array(rows, dtype=np.int64))
