"""A folder or .zip of image files: listed safely, decoded in parallel, labelled by paths or a file."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearkin.data.decode import (
    AS_FOUND,
    EXTENSIONS,
    FOREIGN,
    MAX_BYTES,
    SIZES,
    SNIFFED,
    GrayLevels,
    ReadOptions,
    ValueRange,
    choose_size,
    common_range,
    decode,
    gray_levels,
    range_note,
    sniff,
    to_square,
)
from nearkin.data.imageset import Dataset, ImageSet, LeftOut, LeftOutCounter, Skipped, fingerprint, parts_by_name
from nearkin.data.labels import LabelFile, match_rows, read_labels
from nearkin.data.layout import alike, leave_out, read_layout, split_name, train_or_test
from nearkin.data.store import Cache, DecodedIndex
from nearkin.errors import DataError, reading
from nearkin.system import file_bar, prefetch_map
from nearkin.vectors import sample_rows

_ZIP_TOTAL = 64 * 1024**3
# Compressed bytes given to a decoder at once. zipfile bounds what DEFLATE makes of them, but not what bzip2 (up to
# 80 MB of 4 KiB) and LZMA do.
_ZIP_PIECE = 4096
# Files that are surely no images; they are not opened.
_OTHER = frozenset(
    (
        *(
            ".txt",
            ".csv",
            ".tsv",
            ".json",
            ".jsonl",
            ".xml",
            ".yaml",
            ".yml",
            ".toml",
            ".md",
            ".rst",
            ".html",
            ".htm",
            ".py",
        ),
        *(
            ".ipynb",
            ".sh",
            ".m",
            ".r",
            ".cfg",
            ".ini",
            ".log",
            ".db",
            ".pdf",
            ".doc",
            ".docx",
            ".xls",
            ".xlsx",
            ".parquet",
        ),
        *(".arrow", ".zip", ".tar", ".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".npy", ".npz", ".pkl", ".pt", ".pth"),
        *(
            ".h5",
            ".hdf5",
            ".mat",
            ".tfrecord",
            ".safetensors",
            ".mp4",
            ".avi",
            ".mov",
            ".mkv",
            ".mp3",
            ".wav",
            ".lock",
            ".tmp",
            ".part",
        ),
    )
)
_MISSES = 1000  # files of one suffix that were opened and are no images; the next ones are not opened
_LABELS_LIKE = re.compile(
    r"(?:.*[-_.])?(?:metadata|labels?|annotations?|classes|coco)\.(?:csv|tsv|jsonl?|parquet)", re.I
)
_VOC_LISTS = re.compile(r"(?:.*/)?ImageSets/Main/(?:train|val|test)\.txt")
_PROBE = 200  # images whose headers decide the common size
_SHOWN_KINDS = 8
Watch = Callable[[str, NDArray[np.uint8]], object]


class Unread(ValueError):
    """A file that could not be read this time (gone, locked, a network error). Its contents are unknown."""


@dataclass(frozen=True)
class ImageFiles:
    """Image files of one source.

    Attributes:
        paths: relative POSIX paths, sorted.
        stamp: text that changes when files change (where, names, sizes, times).
        read: path -> bytes; raises ValueError with a reason (Unread: another time it may work).
        foreign, foreign_example: how many images of each format (".heic") that is not decoded, and one of them. left_out: whatever else lies there.
        texts: files beside the images that may say something of them: label files, and Pascal VOC's lists of splits.
    """

    paths: tuple[str, ...]
    stamp: str
    read: Callable[[str], bytes]
    foreign: Mapping[str, int] = field(default_factory=dict)
    left_out: tuple[LeftOut, ...] = ()
    texts: tuple[str, ...] = ()
    foreign_example: str = ""


class _Sorter:
    """Tells images from other files by their names and, where these do not say, by their first bytes."""

    def __init__(self) -> None:
        self.foreign: Counter[str] = Counter()
        self.foreign_example = ""  # the first by name
        self._others: list[str] = []
        self._gone: list[tuple[str, str]] = []
        self._misses: Counter[str] = Counter()

    def is_image(self, path: str, head: Callable[[], bytes]) -> bool:
        """Whether ``path`` is an image to decode; if not, it is counted. ``head`` reads the first SNIFFED bytes."""
        # Plain string work: a set may have a million files, and pathlib costs microseconds each time.
        name = path.rpartition("/")[2]
        suffix = name[at:].lower() if (at := name.rfind(".")) > 0 else ""
        if suffix in EXTENSIONS:
            return True
        kind = suffix
        if suffix not in FOREIGN:
            opened = suffix not in _OTHER and self._misses[suffix] < _MISSES
            kind = sniff(head()) if opened else ""
            # Camera RAW of many makers begins like TIFF, and its first image is a thumbnail.
            kind = "" if kind == ".tif" and suffix else kind
            self._misses[suffix] += opened and not kind
        if kind in FOREIGN:
            self.foreign[kind] += 1
            self.foreign_example = min(self.foreign_example or path, path)
        elif not kind:
            self._others.append(path)
        return kind in EXTENSIONS

    def gone(self, reason: str, path: str) -> None:
        """Count something that is passed over."""
        self._gone.append((reason, path))

    def left_out(self) -> tuple[LeftOut, ...]:
        """The counts, with the first example of each in the order of names."""
        counter = LeftOutCounter()
        for reason, path in sorted(self._gone):
            counter.add(reason, printable(path))
        if self._others:
            kinds = sorted({os.path.splitext(path)[1].lower() or "no suffix" for path in self._others})
            more = ", ..." if len(kinds) > _SHOWN_KINDS else ""
            reason = f"files that are no images ({', '.join(map(printable, kinds[:_SHOWN_KINDS]))}{more})"
            counter.add(reason, printable(min(self._others)), len(self._others))
        return counter.all()

    def texts(self) -> tuple[str, ...]:
        """Label files and lists of splits among the other files."""
        return tuple(
            sorted(p for p in self._others if _LABELS_LIKE.fullmatch(p.rpartition("/")[2]) or _VOC_LISTS.fullmatch(p))
        )


def _hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _head_of(file: str) -> bytes:
    """The first bytes of a regular file; none of anything else, as opening a pipe would wait for ever."""
    try:
        if not stat.S_ISREG(os.stat(file).st_mode):
            return b""
        with open(file, "rb") as handle:
            return handle.read(SNIFFED)
    except OSError:
        return b""


def list_folder(root: Path) -> ImageFiles:
    """Images below ``root``; symbolic links to folders are not followed (they may loop)."""
    base = str(root)
    listed: list[tuple[str, int, tuple[int, int]]] = []
    sorter = _Sorter()
    pending = [""]
    while pending:
        inside = pending.pop()
        try:
            entries = list(os.scandir(os.path.join(base, inside)))
        except OSError:
            sorter.gone("folders that cannot be listed", inside or ".")
            continue
        if not entries and inside:
            sorter.gone("empty folders", inside)
        for entry in entries:
            path = f"{inside}{entry.name}"
            if _hidden(entry.name):
                sorter.gone("hidden files and folders", path)
            elif entry.is_dir(follow_symlinks=False):
                pending.append(path + "/")
            elif entry.is_symlink() and os.path.isdir(f"{base}/{path}"):
                sorter.gone("links to folders, which are not followed", path)
            elif sorter.is_image(path, lambda path=path: _head_of(f"{base}/{path}")):  # type: ignore[misc]
                try:
                    info = entry.stat()
                    listed.append((path, info.st_size, _changed(info)))
                except OSError:
                    listed.append((path, -1, (-1, -1)))
    listed.sort()
    # Ids are written as UTF-8, which some names are not.
    odd = {shown: path for path, _, _ in listed if (shown := printable(path)) != path}

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

    paths = tuple(printable(item[0]) for item in listed)
    stamp = repr((os.path.abspath(base), listed))
    return ImageFiles(
        paths, stamp, read, sorter.foreign, sorter.left_out(), sorter.texts(), printable(sorter.foreign_example)
    )


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
    infos: dict[str, zipfile.ZipInfo] = {}
    texts: dict[str, zipfile.ZipInfo] = {}
    sorter = _Sorter()
    total = 0

    def head(entry: zipfile.ZipInfo) -> bytes:
        try:
            with handle.open(entry) as inside:
                return inside.read(SNIFFED)
        except Exception:  # a damaged or encrypted entry is no image
            return b""

    for entry in handle.infolist():
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{archive}: entry '{entry.filename}' points outside the archive; refused. Re-pack it without '..'."
            )
        name = path.as_posix()
        if entry.is_dir():
            continue
        if any(_hidden(part) for part in path.parts):
            sorter.gone("hidden files and folders", name)
            continue
        if not sorter.is_image(name, lambda entry=entry: head(entry)):  # type: ignore[misc]
            texts[name] = entry
            continue
        if name in infos:
            sorter.gone("entries of a name that another has", name)
            continue
        total += entry.file_size
        if total > _ZIP_TOTAL:
            raise DataError(f"{archive} unpacks to more than {_ZIP_TOTAL:,} bytes; refused. Unpack it yourself.")
        infos[name] = entry
    lock = threading.Lock()  # one file handle, many decoding threads

    def read(path: str) -> bytes:
        entry = infos[path] if path in infos else texts[path]
        if entry.file_size > MAX_BYTES:
            raise ValueError(f"{entry.file_size:,} bytes; at most {MAX_BYTES:,}")
        try:
            with lock, handle.open(entry) as inside:
                return b"".join(iter(lambda: inside.read(_ZIP_PIECE), b""))
        except OSError as error:
            raise Unread(error.strerror or str(error)) from error
        except Exception as error:  # damaged entries raise many types (BadZipFile, zlib.error, EOFError, ...)
            raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error

    return ImageFiles(
        tuple(sorted(infos)),
        stamp,
        read,
        sorter.foreign,
        sorter.left_out(),
        sorter.texts(),
        printable(sorter.foreign_example),
    )


def load_files(
    source: Path,
    *,
    labels: Path | None,
    size: int | None,
    strict: bool,
    cache: Path | None,
    progress: bool,
    watch: Watch = lambda path, image: None,
    read: ReadOptions = AS_FOUND,
    keep: Collection[str] = (),
) -> Dataset:
    """Load the images below a folder or inside a .zip. ``watch``, ``read`` and ``keep`` as in :func:`nearkin.data.load`.

    Raises:
        DataError: no images, none readable, or (strict) any unreadable one.
    """
    list_files = list_zip if source.is_file() else list_folder
    files = list_files(source)
    foreign = _foreign(files)
    if not files.paths:
        raise DataError(_nothing(source, files, foreign))
    label_file = read_labels(labels, read.label_column) if labels is not None else None
    # A file that the user names is no mistake.
    paths, beside = leave_out(files.paths, keep=set(keep) | set(label_file.rows if label_file is not None else ()))
    stamp, settings = files.stamp, repr(size)
    if len(paths) < len(files.paths):
        stamp += hashlib.sha256("\n".join(paths).encode("utf-8", "surrogateescape")).hexdigest()
    # A stamp of before gray deeper than 8 bits was scaled over the set must not be found for one that may have some.
    if any(path.lower().endswith((".png", ".tif", ".tiff", ".pgm", ".ppm")) for path in paths):
        stamp += "\nlevels "
    if read.value_range is not None:
        settings += f"\nrange {read.value_range}"
    stamp += settings
    chosen = replace(files, paths=paths)

    store = Cache(cache)
    key = store.key_of(stamp)
    if key is None or (held := store.load(key)) is None:
        contents, levels = _contents(chosen, progress)
        used, note = read.value_range, []
        if levels:
            used = used or common_range(levels)
            note = [range_note(used, levels, given=read.value_range is not None)]
            settings += f"\nlevels {used}"

        def decode_all(keep: Callable[[NDArray[np.uint8]], object]) -> DecodedIndex:
            index = _decode_all(chosen, size, progress, keep, watch, used)
            return replace(index, notes=[*note, *index.notes], value_range=used if levels else None)

        def decode_unchanged(keep: Callable[[NDArray[np.uint8]], object]) -> DecodedIndex:
            index = decode_all(keep)
            if list_files(source).stamp != files.stamp:  # what was read is true of this moment only
                raise OSError("files changed while they were read")
            return index

        key = store.key(contents or "", settings)
        held = store.load(key) if contents else None
        if held is None:
            held = store.save(key, decode_unchanged) if contents else None
            if held is None:  # not to be cached, or the cache cannot be written
                pixels: list[NDArray[np.uint8]] = []
                index = decode_all(pixels.append)
                held = (np.stack(pixels) if pixels else np.zeros((0, 3, 1, 1), np.uint8)), index
        if contents:
            store.remember(stamp, key)
    images, index = held
    kept, skipped = index.paths, index.skipped
    if skipped and strict:
        raise DataError(f"{source}: {skipped[0].path}: {skipped[0].reason} ({len(skipped)} unreadable; --strict).")
    if not kept:
        raise DataError(
            f"{source}: none of the {len(paths)} images is readable; first: {skipped[0].path}: {skipped[0].reason}."
        )
    train, test, more, unmatched = _arrange(images, tuple(kept), label_file, labels, files)
    return Dataset(
        source.stem if source.is_file() else source.resolve().name,
        str(source),
        train,
        test,
        fingerprint(train, test),
        tuple(skipped),
        (*foreign, *index.notes, *more),
        (*files.left_out, *beside, *unmatched),
        index.value_range,
    )


def _foreign(files: ImageFiles) -> list[str]:
    """At most one note: images in formats that are not decoded."""
    if not files.foreign:
        return []
    counts = ", ".join(f"{count:,} {suffix}" for suffix, count in sorted(files.foreign.items()))
    return [
        f"images that nearkin cannot decode and leaves out ({counts}), e.g. {files.foreign_example}: convert them to JPEG or PNG first"
    ]


def _nothing(source: Path, files: ImageFiles, foreign: list[str]) -> str:
    """The message on a folder without images."""
    text = f"no images in {source}. Looked for .png, .jpg, .webp, .bmp, .gif, .tif and .ppm files, in sub-folders too."
    text += "".join(f" There are {note}." for note in foreign)
    if files.left_out and not foreign:
        text += (
            " There are "
            + "; ".join(f"{item.count:,} {item.reason}, e.g. {item.example}" for item in files.left_out)
            + "."
        )
    shards = next(
        (kind for kind in (".parquet", ".tar") for item in files.left_out if item.example.endswith(kind)), None
    )
    return text + (f" For shards give a pattern: '{source}/**/*{shards}'." if shards else "")


def _contents(files: ImageFiles, progress: bool) -> tuple[str | None, list[GrayLevels]]:
    """A digest of all paths and bytes, None where some file cannot be read now; and the levels of deep gray images."""

    def one(path: str) -> tuple[bytes | None, GrayLevels | None]:
        try:
            data = files.read(path)
            return hashlib.sha256(data).digest(), gray_levels(data)
        except Unread:
            return None, None
        except ValueError as error:
            return str(error).encode(), None

    digest, whole = hashlib.sha256(), True
    levels = []
    with file_bar("hashing files", len(files.paths), enabled=progress) as advance:
        for path, (part, deep) in zip(files.paths, prefetch_map(one, files.paths), strict=True):
            digest.update(path.encode("utf-8", "surrogateescape") + b"\0" + (part or b""))
            whole = whole and part is not None
            if deep is not None:
                levels.append(deep)
            advance()
    return digest.hexdigest() if whole else None, levels


def _decode_all(
    files: ImageFiles,
    size: int | None,
    progress: bool,
    keep: Callable[[NDArray[np.uint8]], object],
    watch: Watch,
    value_range: ValueRange | None,
) -> DecodedIndex:
    """Decode all files; hand each readable one to ``keep`` as uint8 (3, S, S), in the order of the paths returned."""

    def measure(path: str) -> tuple[int, int] | None:
        try:
            return decode(files.read(path)).size
        except ValueError:
            return None

    if size is None:
        probe = sample_rows(len(files.paths), _PROBE, shuffled=True)
        sizes = [seen for seen in prefetch_map(measure, [files.paths[i] for i in probe]) if seen is not None]
        size = choose_size(sizes) if sizes else SIZES[0]
    side = size

    def one(path: str) -> tuple[NDArray[np.uint8], tuple[int, int], bool] | str:
        try:
            image = decode(files.read(path), value_range)
            return to_square(image, side), image.size, "frames" in image.info
        except ValueError as error:
            return str(error)

    kept: list[str] = []
    skipped: list[Skipped] = []
    animated: list[str] = []
    resized = 0
    with file_bar("decoding images", len(files.paths), enabled=progress) as advance:
        for path, done in zip(files.paths, prefetch_map(one, files.paths), strict=True):
            advance()
            if isinstance(done, str):
                skipped.append(Skipped(path, done))
                continue
            pixels, shape, several = done
            keep(pixels)
            watch(path, pixels)
            kept.append(path)
            resized += shape != (side, side)
            if several:
                animated.append(path)
    notes = [f"{resized} of {len(kept)} images resized and centre-cropped to {side} x {side}"] if resized else []
    if animated:
        notes.append(
            f"the first frame is taken of {len(animated):,} files with several frames or pages, e.g. {animated[0]}"
        )
    return DecodedIndex(kept, skipped, notes)


def _arrange(
    images: NDArray[np.uint8],
    paths: tuple[str, ...],
    label_file: LabelFile | None,
    file: Path | None,
    files: ImageFiles,
) -> tuple[ImageSet, ImageSet | None, list[str], tuple[LeftOut, ...]]:
    """Split and label the images by their paths, overridden by the label file."""
    layout = read_layout(paths)
    split, names, notes = list(layout.split), list(layout.label), list(layout.notes)
    unmatched: tuple[LeftOut, ...] = ()
    if label_file is not None and file is not None:
        rows = label_file.rows
        matched = match_rows(rows, paths)
        if not matched.row:
            example = next(iter(rows))
            raise DataError(f"{file}: no path matches an image; it has '{example}', the folder has '{paths[0]}'.")
        labelled = any(name is not None for name, _ in rows.values())  # a file of splits alone leaves folders their say
        if labelled:
            names = [None] * len(paths)
        for i, path in enumerate(paths):
            if path in matched.row:
                label, which = rows[matched.row[path]]
                names[i] = label if labelled else names[i]
                split[i] = which or split[i]
        empty = sum(rows[row][0 if labelled else 1] is None for row in matched.row.values())
        notes += label_file.notes
        notes.append(
            f"{'labels' if labelled else 'splits'} for {len(matched.row) - empty} of {len(paths)} images from {file.name}"
            + (f"; its rows for {empty} others have none" if empty else "")
        )
        notes += [f"{n:,} rows of {file.name} matched but for: {how}" for how, n in matched.loosely.items()]
        if matched.unmatched:
            reason = f"rows of {file.name} that name no image that was read"
            unmatched = (LeftOut(reason, len(matched.unmatched), matched.unmatched[0]),)
    else:
        notes += _voc_splits(paths, split, files)
        if hints := [text for text in files.texts if not _VOC_LISTS.fullmatch(text)]:
            notes.append(f"{hints[0]} is not read; if it holds labels of these images, give it with --labels")
    known = [name for name in names if name is not None]
    notes += alike(known)
    if len(known) >= 20 and len(set(known)) > len(known) / 2:
        notes.append(f"{len(set(known)):,} different labels for {len(known):,} images: are they classes?")
    train, test = parts_by_name(images, np.array(paths), names, np.array(split))
    return train, test, notes, unmatched


def _voc_splits(paths: Sequence[str], split: list[str], files: ImageFiles) -> list[str]:
    """Set the splits that Pascal VOC's ImageSets/Main lists, where folders gave none. Returns notes."""
    lists = {
        split_name(text.rpartition("/")[2].partition(".")[0]): text
        for text in files.texts
        if _VOC_LISTS.fullmatch(text)
    }
    if len(lists) < 2 or len(set(split)) > 1:
        return []
    named: dict[str, str] = {}
    serves = train_or_test(name for name in lists if name)
    for name, text in lists.items():
        try:
            lines = files.read(text).decode("utf-8").splitlines()
        except ValueError as error:
            return [f"{text} cannot be read ({error}): no splits are taken from it"]
        named |= {line.split()[0]: serves[name] for line in lines if name and line.strip()}
    of = [named.get(path.rpartition("/")[2].rpartition(".")[0]) for path in paths]
    split[:] = [which or "train" for which in of]
    missing = [path for path, which in zip(paths, of, strict=True) if which is None]
    more = f"; {len(missing):,} images in none of them, e.g. {missing[0]}, are taken as train" if missing else ""
    return [
        f"splits from Pascal VOC's lists {', '.join(sorted(text.rpartition('/')[2] for text in lists.values()))}{more}"
    ]


def read_images(
    paths: Sequence[Path], value_range: ValueRange | None = None
) -> tuple[list[str], list[Image.Image], list[Skipped]]:
    """RGB images of files and of all files below folders, with their names.

    An unreadable file inside a folder is skipped and listed; a file that was named itself must be readable.

    Args:
        value_range: of gray deeper than 8 bits; default: by all of these images.
    Raises:
        DataError: nothing there, an unreadable file, a folder without images or without readable ones.
    """
    names: list[str] = []
    images: list[Image.Image] = []
    skipped: list[Skipped] = []
    deep: dict[int, bytes] = {}
    levels: list[GrayLevels] = []

    def add(name: str, data: bytes) -> None:
        images.append(decode(data, value_range))
        names.append(name)
        if value_range is None and (own := gray_levels(data)) is not None:
            deep[len(images) - 1] = data
            levels.append(own)

    for path in paths:
        if not path.is_dir():
            try:
                with open(path, "rb") as handle:
                    add(str(path), handle.read(MAX_BYTES))
            except OSError as error:
                raise DataError(f"{path}: {error.strerror or error}.") from error
            except ValueError as error:
                raise DataError(f"{path}: {error}.") from error
            continue
        files = list_folder(path)
        if not files.paths:
            raise DataError(f"no images in {path}. Looked for .png, .jpg, .webp, .bmp, .gif, .tif and .ppm files.")
        before = len(images)
        for inside in files.paths:
            try:
                add(f"{path}/{inside}", files.read(inside))
            except ValueError as error:
                skipped.append(Skipped(f"{path}/{inside}", str(error)))
        if len(images) == before:
            raise DataError(
                f"{path}: none of its {len(files.paths)} images is readable; first: {skipped[-1].path}: {skipped[-1].reason}."
            )
    for number, data in deep.items():
        images[number] = decode(data, common_range(levels))
    return names, images, skipped
