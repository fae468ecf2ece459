"""Where the files of a set come from: a folder or a .zip, listed safely and read one by one."""

from __future__ import annotations

import os
import threading
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nearkin.data.decode import EXTENSIONS, MAX_BYTES
from nearkin.errors import DataError

_ZIP_TOTAL = 64 * 1024**3


@dataclass(frozen=True)
class Files:
    """Image files of one source.

    Attributes:
        paths: relative POSIX paths, sorted.
        stamp: text that changes when files change (where, names, sizes, times).
        read: path -> bytes; raises ValueError with a reason.
    """

    paths: tuple[str, ...]
    stamp: str
    read: Callable[[str], bytes]


def _is_image(path: str) -> bool:
    # Plain string work: a set may have a million files, and pathlib costs microseconds each time.
    stem, dot, suffix = path.rpartition(".")
    if not dot or f".{suffix.lower()}" not in EXTENSIONS:
        return False
    return not any(part.startswith(".") or part == "__MACOSX" for part in path.split("/"))


def list_folder(root: Path) -> Files:
    """Images below ``root``; symbolic links to folders are not followed (they may loop)."""
    base = str(root)
    found: list[tuple[str, int, int]] = []
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
            elif _is_image(path):
                try:
                    info = entry.stat()
                    found.append((path, info.st_size, info.st_mtime_ns))
                except OSError:
                    found.append((path, -1, -1))
    found.sort()

    def read(path: str) -> bytes:
        try:
            with open(f"{base}/{path}", "rb") as handle:
                data = handle.read(MAX_BYTES + 1)
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error
        if len(data) > MAX_BYTES:
            raise ValueError(f"more than {MAX_BYTES:,} bytes")
        return data

    return Files(tuple(item[0] for item in found), repr((os.path.abspath(base), found)), read)


def list_zip(archive: Path) -> Files:
    """Images inside a .zip, read in place. Raises DataError for paths that leave it, or for a bomb."""
    try:
        handle = zipfile.ZipFile(archive)
    except (zipfile.BadZipFile, OSError) as error:
        raise DataError(f"{archive} is not a readable zip file ({error}).") from error
    infos = {}
    total = 0
    for info in handle.infolist():
        path = PurePosixPath(info.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts:
            raise DataError(
                f"{archive}: entry '{info.filename}' points outside the archive; refused. Re-pack it without '..'."
            )
        if info.is_dir() or not _is_image(path.as_posix()):
            continue
        total += info.file_size
        if total > _ZIP_TOTAL:
            raise DataError(f"{archive} unpacks to more than {_ZIP_TOTAL:,} bytes; refused. Unpack it yourself.")
        infos[path.as_posix()] = info
    lock = threading.Lock()  # one file handle, many decoding threads

    def read(path: str) -> bytes:
        if infos[path].file_size > MAX_BYTES:
            raise ValueError(f"{infos[path].file_size:,} bytes; at most {MAX_BYTES:,}")
        try:
            with lock:
                return handle.read(infos[path])
        except (zipfile.BadZipFile, OSError, RuntimeError, NotImplementedError) as error:
            raise ValueError(str(error)) from error

    stat = archive.stat()
    return Files(tuple(sorted(infos)), repr((str(archive), stat.st_size, stat.st_mtime_ns)), read)
