"""Images of a WebDataset shard: a tar whose neighbouring files NAME.jpg, NAME.cls, NAME.json are one sample.

Read front to back, never unpacked: a name is only a name. Layout: the WebDataset documentation, "file format".
"""

from __future__ import annotations

import json
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from itertools import groupby
from typing import IO

from nearkin.data.decode import EXTENSIONS
from nearkin.data.records import MAX_RECORD, Record
from nearkin.errors import DataError

SUFFIXES = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
_MAX_TEXT = 1024**2  # bytes of a header or of a label file
_MAX_TOTAL = 64 * 1024**3  # bytes of a shard after unpacking
_HEADERS = (
    tarfile.XHDTYPE,
    tarfile.XGLTYPE,
    tarfile.SOLARIS_XHDTYPE,
    tarfile.GNUTYPE_LONGNAME,
    tarfile.GNUTYPE_LONGLINK,
)


class _Checked(tarfile.TarInfo):
    """A stricter header: tarfile would take a damaged one for the end, and read an extended one of any size into memory."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _Checked:
        try:
            found = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # neither the end of the file nor its zero blocks
                raise tarfile.ReadError(str(error)) from error
            raise
        if found.size < 0 or (found.type in _HEADERS and found.size > _MAX_TEXT):
            raise tarfile.ReadError(f"a header claims {found.size:,} bytes")
        return found


def _parts(name: str) -> tuple[str, str]:
    """The sample's key and the file's extension: "a/b.left.png" -> ("a/b", "left.png")."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return folder + slash + stem, extension.lower()


def tar_records(file: IO[bytes], where: str) -> Iterator[Record]:
    """The samples of a tar (compressed or not) in its order. A sample without an image is no sample.

    The label is the text of ``.cls``, or "label" (or "cls") of ``.json``.

    Raises:
        DataError: not a tar or a damaged one, a name that points outside, or more than 64 GB after unpacking.
    """
    try:
        with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Checked) as tar:
            members = ((_parts(member.name), member) for member in _files(tar, where))
            for key, group in groupby(members, key=lambda item: item[0][0]):
                record = _sample(tar, key, ((extension, member) for (_, extension), member in group))
                if record is not None:
                    yield record
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{where} is not a readable tar, or damaged ({' '.join(str(error).split())}).") from error


def _files(tar: tarfile.TarFile, where: str) -> Iterator[tarfile.TarInfo]:
    """Regular files that are not hidden. Links, devices and folders are passed over: nothing is followed."""
    total = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile remembers every header it has seen
        parts = member.name.replace("\\", "/").split("/")
        if member.name.startswith("/") or ".." in parts:
            raise DataError(
                f"{where}: entry '{member.name!a}' points outside the archive; refused. Re-pack it without."
            )
        total += member.size
        if total > _MAX_TOTAL:
            raise DataError(f"{where} unpacks to more than {_MAX_TOTAL:,} bytes; refused. Use smaller shards.")
        if member.isreg() and not parts[-1].startswith("."):
            yield member


def _sample(tar: tarfile.TarFile, key: str, files: Iterator[tuple[str, tarfile.TarInfo]]) -> Record | None:
    """One sample of its files; None without an image. The first image counts, where there are several."""
    data: bytes | None = None
    problem, label = "", None
    for extension, member in files:
        last = "." + extension.rpartition(".")[2]
        if last in EXTENSIONS and data is None:
            too_large = member.size > MAX_RECORD
            problem = f"{member.size:,} bytes; at most {MAX_RECORD:,}" if too_large else ""
            data = b"" if too_large else _read(tar, member)
        elif extension == "cls" and member.size <= _MAX_TEXT:
            label = _read(tar, member).decode("utf-8", "replace").strip() or None
        elif extension == "json" and member.size <= _MAX_TEXT and label is None:
            label = _json_label(_read(tar, member))
    return None if data is None else Record(key, data, label, problem=problem)


def _read(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    handle = tar.extractfile(member)
    data = handle.read() if handle is not None else b""
    if len(data) != member.size:
        raise EOFError("cut off inside a file")
    return data


def _json_label(data: bytes) -> str | None:
    try:
        value = json.loads(data)
    except (ValueError, RecursionError):
        return None
    found = value.get("label", value.get("cls")) if isinstance(value, dict) else None
    return str(found) if isinstance(found, (str, int)) else None
