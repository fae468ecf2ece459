"""A folder or .zip of images -> Dataset. Broken files are listed, not fatal; decoding runs in parallel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nearkin.data.cache import Cache, Index
from nearkin.data.decode import decode, to_square
from nearkin.data.files import Files, Unread, list_folder, list_zip
from nearkin.data.fingerprint import fingerprint
from nearkin.data.imageset import Dataset, ImageSet, Skipped, parts_by_name
from nearkin.data.labels import read_labels
from nearkin.data.layout import read_layout
from nearkin.data.progress import file_bar
from nearkin.errors import DataError
from nearkin.system import map_ahead

Watch = Callable[[str, NDArray[np.uint8]], object]
SIZES = (32, 64, 96, 128, 224)
_PROBE = 200  # images whose headers decide the common size


def choose_size(sizes: list[tuple[int, int]]) -> int:
    """One square size for all: theirs if they share one, else the smallest of SIZES >= the median short side."""
    if len(set(sizes)) == 1 and sizes[0][0] == sizes[0][1] and 8 <= sizes[0][0] <= SIZES[-1]:
        return sizes[0][0]
    median = float(np.median([min(size) for size in sizes]))
    return next((size for size in SIZES if size >= median), SIZES[-1])


def load_files(
    source: Path,
    *,
    labels: Path | None,
    size: int | None,
    strict: bool,
    cache: Path | None,
    progress: bool,
    watch: Watch = lambda path, image: None,
) -> Dataset:
    """Load the images below a folder or inside a .zip. ``watch`` as in :func:`nearkin.data.load`.

    Raises:
        DataError: no images, none readable, or (strict) any unreadable one.
    """
    list_files = list_zip if source.is_file() else list_folder
    files = list_files(source)
    foreign = _foreign(files)
    if not files.paths:
        raise DataError(
            f"no images in {source}. Looked for .png, .jpg, .webp, .bmp, .gif, .tif and .ppm files, in sub-folders too."
            + "".join(f" There are {note}." for note in foreign)
        )

    def decode_unchanged(keep: Callable[[NDArray[np.uint8]], object]) -> Index:
        index = _decode_all(files, size, progress, keep, watch)
        if list_files(source).stamp != files.stamp:  # what was found is true of this moment only
            raise OSError("files changed while they were read")
        return index

    store, settings = Cache(cache), repr(size)
    stamp = f"{files.stamp}{settings}"
    key = store.key_of(stamp)
    if key is None or (held := store.load(key)) is None:
        contents = _contents(files, progress)
        key = store.key(contents or "", settings)
        held = store.load(key) if contents else None
        if held is None:
            held = store.save(key, decode_unchanged) if contents else None
            if held is None:  # not to be cached, or the cache cannot be written
                pixels: list[NDArray[np.uint8]] = []
                index = _decode_all(files, size, progress, pixels.append, watch)
                held = (np.stack(pixels) if pixels else np.zeros((0, 3, 1, 1), np.uint8)), index
        if contents:
            store.remember(stamp, key)
    images, (kept, skipped, notes) = held
    if skipped and strict:
        raise DataError(f"{source}: {skipped[0].path}: {skipped[0].reason} ({len(skipped)} unreadable; --strict).")
    if not kept:
        raise DataError(
            f"{source}: none of the {len(files.paths)} images is readable; first: {skipped[0].path}: {skipped[0].reason}."
        )
    train, test, more = _arrange(images, tuple(kept), labels)
    name = source.stem if source.is_file() else source.resolve().name
    return Dataset(name, str(source), train, test, fingerprint(train, test), tuple(skipped), (*foreign, *notes, *more))


def _foreign(files: Files) -> list[str]:
    """At most one note: images in formats that are not decoded."""
    if not files.foreign:
        return []
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(files.foreign.items()))
    return [f"images that nearkin cannot decode and leaves out ({counts}): convert them to JPEG or PNG first"]


def _contents(files: Files, progress: bool) -> str | None:
    """A digest of all paths and bytes; None where some file cannot be read now."""

    def one(path: str) -> bytes | None:
        try:
            return hashlib.sha256(files.read(path)).digest()
        except Unread:
            return None
        except ValueError as error:
            return str(error).encode()

    digest, whole = hashlib.sha256(), True
    with file_bar("hashing files", len(files.paths), enabled=progress) as advance:
        for path, part in zip(files.paths, map_ahead(one, files.paths), strict=True):
            digest.update(path.encode("utf-8", "surrogateescape") + b"\0" + (part or b""))
            whole = whole and part is not None
            advance()
    return digest.hexdigest() if whole else None


def _decode_all(
    files: Files, size: int | None, progress: bool, keep: Callable[[NDArray[np.uint8]], object], watch: Watch
) -> Index:
    """Decode all files; hand each readable one to ``keep`` as uint8 (3, S, S), in the order of the paths returned."""

    def measure(path: str) -> tuple[int, int] | None:
        try:
            return decode(files.read(path)).size
        except ValueError:
            return None

    if size is None:
        probe = np.random.default_rng(0).permutation(len(files.paths))[:_PROBE]
        sizes = [found for found in map_ahead(measure, [files.paths[i] for i in probe]) if found is not None]
        size = choose_size(sizes) if sizes else SIZES[0]
    side = size

    def one(path: str) -> tuple[NDArray[np.uint8] | None, tuple[int, int] | str]:
        try:
            image = decode(files.read(path))
            return to_square(image, side), image.size
        except ValueError as error:
            return None, str(error)

    kept: list[str] = []
    skipped: list[Skipped] = []
    resized = 0
    with file_bar("decoding images", len(files.paths), enabled=progress) as advance:
        for path, (pixels, info) in zip(files.paths, map_ahead(one, files.paths), strict=True):
            advance()
            if pixels is None:
                skipped.append(Skipped(path, str(info)))
            else:
                keep(pixels)
                watch(path, pixels)
                kept.append(path)
                resized += info != (side, side)
    notes = [f"{resized} of {len(kept)} images resized and centre-cropped to {side} x {side}"] if resized else []
    return kept, skipped, notes


def _arrange(
    images: NDArray[np.uint8], paths: tuple[str, ...], label_file: Path | None
) -> tuple[ImageSet, ImageSet | None, list[str]]:
    """Split and label the images by their paths, overridden by the label file."""
    layout = read_layout(paths)
    split, names, notes = list(layout.split), list(layout.label), list(layout.notes)
    if label_file is not None:
        rows = read_labels(label_file)
        matched = 0
        labelled = any(name is not None for name, _ in rows.values())  # a file of splits alone leaves folders their say
        if labelled:
            names = [None] * len(paths)
        for i, path in enumerate(paths):
            if path in rows:
                matched += 1
                names[i] = rows[path][0] if labelled else names[i]
                split[i] = rows[path][1] or split[i]
        if not matched:
            example = next(iter(rows))
            raise DataError(f"{label_file}: no path matches an image; it has '{example}', the folder has '{paths[0]}'.")
        what = "labels" if labelled else "splits"
        notes.append(f"{what} for {matched} of {len(paths)} images from {label_file.name}")
    train, test = parts_by_name(images, np.array(paths), names, np.array(split))
    return train, test, notes
