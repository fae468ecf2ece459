"""Where the files of a set come from: a folder or a .zip, listed safely and read one by one."""

from __future__ import annotations

import os
import stat
import threading
import zipfile
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from nearkin.data.decode import EXTENSIONS, FOREIGN, MAX_BYTES
from nearkin.errors import DataError, reading

_ZIP_TOTAL = 64 * 1024**3
# Compressed bytes given to a decoder at once. zipfile bounds what DEFLATE makes of them, but not what bzip2 (up to
# 80 MB of 4 KiB) and LZMA do.
_ZIP_PIECE = 4096


class Unread(ValueError):
    """A file that could not be read this time: gone, locked, a network's fault. What it holds is not known."""


@dataclass(frozen=True)
class Files:
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


def list_folder(root: Path) -> Files:
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

    return Files(tuple(printable(item[0]) for item in found), repr((os.path.abspath(base), found)), read, foreign)


def printable(path: str) -> str:
    """``path`` with the bytes that are no UTF-8 written out, as in "caf\\xe9.png"."""
    return path if path.isascii() else path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _changed(info: os.stat_result) -> tuple[int, int]:
    """When content and entry were last changed: the first alone is set back by copying tools, or by a clock that jumps."""
    return info.st_mtime_ns, info.st_ctime_ns


def list_zip(archive: Path) -> Files:
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

    return Files(tuple(sorted(infos)), stamp, read, foreign)
