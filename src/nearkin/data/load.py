"""Any source -> Dataset."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.data.imageset import Dataset
from nearkin.errors import ConfigError, DataError, unknown


def names() -> tuple[str, ...]:
    """Data sets known by name."""
    from nearkin.data.sources import NAMES

    return ("shapes", *NAMES)


def _shapes(size: int | None) -> Dataset:
    from nearkin.data.shapes import SIZE, shapes

    made = shapes()
    if size in (None, SIZE) or made.test is None:
        return made
    from nearkin.data.arrays import to_images
    from nearkin.data.fingerprint import fingerprint

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
) -> Dataset:
    """Load images from a name or a path, as uint8 (N, 3, S, S).

    Args:
        source: "shapes" (built in), a torchvision name, or the path of a folder, .zip, .npz, .parquet or a
            folder with MNIST's IDX files; a store (data.store); or shards (data.shards), which are decoded into a store
            in the cache first.
        labels: CSV or Parquet with columns path, label and, optionally, split; for folders and zips.
        size: side S in pixels. Default: the images' own if they share one, else the smallest of 32, 64, 96,
            128, 224 that is at least the median short side; the short side is resized, the middle cropped.
        strict: fail at the first unreadable file instead of listing it in ``Dataset.skipped``.
        cache: folder for downloads and decoded images; default $NEARKIN_CACHE or ~/.cache/nearkin.
        watch: given the id and uint8 (3, S, S) of each image of a folder or .zip while it is decoded, in order; of none that
            the cache holds. One whose files change meanwhile is given again.
        only: "train" or "test": the other one may be left out, which spares resizing most of a named set or of IDX files. It
            is then the data set's ``train``, without a ``test``.

    Raises:
        DataError: missing, empty or unreadable source. ConfigError: an illegal size, or labels where they cannot be used.
    """
    if size is not None and not 8 <= size <= 1024:
        raise ConfigError(f"size is {size}; it must lie between 8 and 1024 pixels.")
    from nearkin.data.shards import is_shards
    from nearkin.data.store import is_store

    path = Path(source).expanduser()
    if is_store(path) or is_shards(source):
        if labels is not None:
            raise ConfigError(f"--labels is for folders and zips; {source} brings its own.")
        from nearkin.data.stored import load_shards, load_store

        return load_store(path, size) if is_store(path) else load_shards(source, size, strict, cache, progress)
    if not path.exists() and source in names():
        if labels is not None:
            raise ConfigError(f"--labels is for folders and zips; '{source}' brings its own.")
        if source == "shapes":
            return _shapes(size)
        from nearkin.data.sources import load_name

        return load_name(source, size=size, cache=cache, only=only)
    if not path.exists():
        if "/" in source or "." in source:
            raise DataError(f"no such file or folder: {source}")
        error = unknown("data set or path", source, names())
        raise DataError(str(error))
    suffix = path.suffix.lower()
    if path.is_file() and suffix in (".npz", ".parquet"):
        if labels is not None:
            raise ConfigError(f"--labels is for folders and zips; {path.name} brings its own.")
        from nearkin.data.arrays import load_npz, load_parquet

        return load_npz(path, size) if suffix == ".npz" else load_parquet(path, size, strict)
    if path.is_file() and suffix != ".zip":
        raise DataError(f"{source}: a file of this kind cannot be read. Give a folder, .zip, .npz, .parquet or .tar.")
    if path.is_dir():
        from nearkin.data.idx import find_idx, load_idx

        if find_idx(path):
            return load_idx(path, size, only)
    from nearkin.data.folder import load_files

    return load_files(path, labels=labels, size=size, strict=strict, cache=cache, progress=progress, watch=watch)
