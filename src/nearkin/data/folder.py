"""A folder or .zip of image files: listed safely, decoded in parallel, labelled by paths or a file."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearkin.data.decode import EXTENSIONS, FOREIGN, MAX_BYTES, SIZES, choose_size, decode, to_square
from nearkin.data.imageset import Dataset, ImageSet, Skipped, fingerprint, parts_by_name
from nearkin.data.labels import read_labels
from nearkin.data.layout import read_layout
from nearkin.data.store import Cache, Index
from nearkin.errors import DataError, reading
from nearkin.system import file_bar, map_ahead

_ZIP_TOTAL = 64 * 1024**3
# Compressed bytes given to a decoder at once. zipfile bounds what DEFLATE makes of them, but not what bzip2 (up to
# 80 MB of 4 KiB) and LZMA do.
_ZIP_PIECE = 4096


class Unread(ValueError):
    """A file that could not be read this time: gone, locked, a network's fault. What it holds is not known."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files of one source.

    Attributes:
        paths: relative POSIX paths, sorted.
        stamp: text that changes when files change (where, names, sizes, times).
        read: path -> bytes; raises ValueError with a reason (Unread: another time it may work).
        foreign: how many images of each format (".heic") that cannot be decoded lie there.
    """

    paths: tuple[str, ...]
    stamp: str
    read: Callable[[str], bytes]
    foreign: Mapping[str, int] = field(default_factory=dict)


def _suffix(path: str) -> str:
    """ ".png" and the like in lower case; "" for what is hidden and what is no image by its name."""
    # Plain string work: a set may have a million files, and pathlib costs microseconds each time.
    stem, dot, suffix = path.rpartition(".")
    suffix = f".{suffix.lower()}"
    if not dot or suffix not in EXTENSIONS and suffix not in FOREIGN:
        return ""
    return "" if any(part.startswith(".") or part == "__MACOSX" for part in path.split("/")) else suffix


def list_folder(root: Path) -> ImageFiles:
    """Images below ``root``; symbolic links to folders are not followed (they may loop)."""
    base = str(root)
    found: list[tuple[str, int, tuple[int, int]]] = []
    foreign: Counter[str] = Counter()
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(base, inside)))
        except OSError:  # a folder that may not be listed hides its files, nothing more
            continue
        for entry in entries:
            path = f"{inside}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                pending.append(path + "/")
            elif (suffix := _suffix(path)) in FOREIGN:
                foreign[suffix] += 1
            elif suffix:
                try:
                    info = entry.stat()
                    found.append((path, info.st_size, _changed(info)))
                except OSError:
                    found.append((path, -1, (-1, -1)))
    found.sort()
    # Ids are written as UTF-8, which some names are not.
    odd = {shown: path for path, _, _ in found if (shown := printable(path)) != path}

    def read(path: str) -> bytes:
        file = f"{base}/{odd.get(path, path)}"
        try:
            if not stat.S_ISREG(os.stat(file).st_mode):  # opening a pipe would wait for ever
                raise ValueError("not a regular file")
            with open(file, "rb") as handle:
                data = handle.read(MAX_BYTES + 1)
        except OSError as error:
            raise Unread(error.strerror or str(error)) from error
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        return data

    return ImageFiles(tuple(printable(item[0]) for item in found), repr((os.path.abspath(base), found)), read, foreign)


def printable(path: str) -> str:
    """``path`` with the bytes that are no UTF-8 written out, as in "caf\\xe9.png"."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _changed(info: os.stat_result) -> tuple[int, int]:
    """When content and entry were last changed: the first alone is set back by copying tools, or by a clock that jumps."""
    return info.st_mtime_ns, info.st_ctime_ns


def list_zip(archive: Path) -> ImageFiles:
    """Images inside a .zip, read in place. Raises DataError for paths that leave it, or for a bomb."""
    with reading(f"{archive} is not a readable zip file: it"):
        info = archive.stat()
        handle = zipfile.ZipFile(archive)
    stamp = repr((str(archive), info.st_size, _changed(info)))
    infos = {}
    foreign: Counter[str] = Counter()
    total = 0
    for entry in handle.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{archive}: entry '{entry.filename}' points outside the archive; refused. Re-pack it without '..'."
            )
        suffix = "" if entry.is_dir() else _suffix(path.as_posix())
        if suffix in FOREIGN:
            foreign[suffix] += 1
        if suffix not in EXTENSIONS:
            continue
        total += entry.file_size
        if total > _ZIP_TOTAL:
            raise DataError(f"{archive} unpacks to more than {_ZIP_TOTAL:,} bytes; refused. Unpack it yourself.")
        infos[path.as_posix()] = entry
    lock = threading.Lock()  # one file handle, many decoding threads

    def read(path: str) -> bytes:
        if infos[path].file_size > MAX_BYTES:
            raise ValueError(f"{infos[path].file_size:,} bytes; at most {MAX_BYTES:,}")
        try:
            with lock, handle.open(infos[path]) as inside:
                return b"".join(iter(lambda: inside.read(_ZIP_PIECE), b""))
        except OSError as error:
            raise Unread(error.strerror or str(error)) from error
        except Exception as error:  # damaged entries raise many types (BadZipFile, zlib.error, EOFError, ...)
            raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error

    return ImageFiles(tuple(sorted(infos)), stamp, read, foreign)


Watch = Callable[[str, NDArray[np.uint8]], object]
_PROBE = 200  # images whose headers decide the common size


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


def _foreign(files: ImageFiles) -> list[str]:
    """At most one note: images in formats that are not decoded."""
    if not files.foreign:
        return []
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(files.foreign.items()))
    return [f"images that nearkin cannot decode and leaves out ({counts}): convert them to JPEG or PNG first"]


def _contents(files: ImageFiles, progress: bool) -> str | None:
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
    files: ImageFiles, size: int | None, progress: bool, keep: Callable[[NDArray[np.uint8]], object], watch: Watch
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


def read_images(paths: Sequence[Path]) -> tuple[list[str], list[Image.Image], list[Skipped]]:
    """RGB images of files and of all files below folders, with their names.

    An unreadable file inside a folder is skipped and listed; a file that was named itself must be readable.

    Raises:
        DataError: nothing there, an unreadable file, a folder without images or without readable ones.
    """
    names: list[str] = []
    images: list[Image.Image] = []
    skipped: list[Skipped] = []
    for path in paths:
        if not path.is_dir():
            try:
                with open(path, "rb") as handle:
                    images.append(decode(handle.read(MAX_BYTES)))
            except OSError as error:
                raise DataError(f"{path}: {error.strerror or error}.") from error
            except ValueError as error:
                raise DataError(f"{path}: {error}.") from error
            names.append(str(path))
            continue
        files = list_folder(path)
        if not files.paths:
            raise DataError(f"no images in {path}. Looked for .png, .jpg, .webp, .bmp, .gif, .tif and .ppm files.")
        before = len(images)
        for inside in files.paths:
            try:
                images.append(decode(files.read(inside)))
                names.append(f"{path}/{inside}")
            except ValueError as error:
                skipped.append(Skipped(f"{path}/{inside}", str(error)))
        if len(images) == before:
            raise DataError(
                f"{path}: none of its {len(files.paths)} images is readable; first: {skipped[-1].path}: {skipped[-1].reason}."
            )
    return names, images, skipped
