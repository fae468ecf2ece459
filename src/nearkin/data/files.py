"""Where the files of a set come from: a folder or a .zip, listed safely and read one by one."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from nearkin.data.decode import EXTENSIONS, MAX_BYTES
from nearkin.errors import DataError

_ZIP_TOTAL = 64 * 1024**3
_RATIO = 200  # an image never compresses 200 to 1 in a zip; a bomb does


@dataclass(frozen=True)
class Files:
    """Image files of one source.

    Attributes:
        paths: relative POSIX paths, sorted.
        stamp: text that changes when files change (names, sizes, times), the cache's key.
        read: path -> bytes; raises ValueError with a reason.
    """

    paths: tuple[str, ...]
    stamp: str
    read: Callable[[str], bytes]


def _is_image(path: str) -> bool:
    name = PurePosixPath(path)
    hidden = any(part.startswith(".") or part == "__MACOSX" for part in name.parts)
    return name.suffix.lower() in EXTENSIONS and not hidden


def list_folder(root: Path) -> Files:
    """Images below ``root``; symbolic links to folders are not followed (they may loop)."""
    found: list[tuple[str, int, int]] = []
    for folder, folders, names in root.walk(follow_symlinks=False) if hasattr(root, "walk") else _walk(root):
        folders.sort()
        for name in names:
            path = (folder / name).relative_to(root).as_posix()
            if _is_image(path):
                try:
                    info = (folder / name).stat()
                    found.append((path, info.st_size, info.st_mtime_ns))
                except OSError:
                    found.append((path, -1, -1))
    found.sort()

    def read(path: str) -> bytes:
        try:
            return (root / path).read_bytes()
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error

    return Files(tuple(item[0] for item in found), repr((str(root), found)), read)


def _walk(root: Path):  # type: ignore[no-untyped-def]  # Path.walk exists from Python 3.12 on
    import os

    for folder, folders, names in os.walk(root, followlinks=False):
        yield Path(folder), folders, names


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
        if info.file_size > _RATIO * max(info.compress_size, 1024) or total > _ZIP_TOTAL:
            raise DataError(
                f"{archive}: entry '{info.filename}' unpacks to {info.file_size:,} bytes; refused as a bomb."
            )
        infos[path.as_posix()] = info
    import threading

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
