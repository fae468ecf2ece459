"""Sharded sets: WebDataset tars and image Parquet files, local or behind any fsspec URL, read front to back."""

from __future__ import annotations

import contextlib
import json
import lzma
import re
import tarfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby, islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from nearkin.data.decode import (
    AS_FOUND,
    EXTENSIONS,
    FOREIGN,
    MAX_RECORD,
    SNIFFED,
    EncodedImage,
    GrayLevels,
    ReadOptions,
    ShardImage,
    ValueRange,
    common_range,
    decode,
    gray_levels,
    range_note,
    sniff,
    to_square,
)
from nearkin.data.imageset import LeftOutCounter, Skipped
from nearkin.data.layout import split_name
from nearkin.data.parquet import choose_columns, open_parquet, parquet_records
from nearkin.errors import DataError
from nearkin.fileio import label_text
from nearkin.system import prefetch_map

TARS = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
SUFFIXES = (*TARS, ".parquet")
_PROBED = 64  # images that tell whether a set is of deep gray
_AHEAD = 64  # images that are decoded before they are asked for
OnSkip = Callable[[Skipped], object]
_TEXTS = (".txt", ".json", ".cls", ".cls2", ".xml", ".npy", ".npz", ".pth", ".pyd", ".index", ".id", ".mp4", ".wav")
_FURTHER = "further images of one sample, whose name up to its first dot is the same"
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
            header = super().frombuf(buf, encoding, errors)
        except tarfile.HeaderError as error:
            if any(buf):  # neither the end of the file nor its zero blocks
                raise tarfile.ReadError(str(error)) from error
            raise
        if header.size < 0 or (header.type in _HEADERS and header.size > _MAX_TEXT):
            raise tarfile.ReadError(f"a header claims {header.size:,} bytes")
        return header


def _parts(name: str) -> tuple[str, str]:
    """The sample's key and the file's extension: "a/b.left.png" -> ("a/b", "left.png")."""
    folder, slash, file = name.rpartition("/")
    stem, _, extension = file.partition(".")
    return folder + slash + stem, extension.lower()


def tar_records(file: IO[bytes], where: str, left_out: LeftOutCounter | None = None) -> Iterator[EncodedImage]:
    """The samples of a tar (compressed or not) in its order. A sample without an image is none, and is counted.

    The label is the text of ``.cls``, or "label" (or "cls") of ``.json``.

    Raises:
        DataError: not a tar or a damaged one, a name that points outside, or more than 64 GB after unpacking.
    """
    counter = left_out or LeftOutCounter()
    try:
        with tarfile.open(fileobj=file, mode="r|*", tarinfo=_Checked) as tar:
            members = ((_parts(member.name), member) for member in _files(tar, where, counter))
            for key, group in groupby(members, key=lambda item: item[0][0]):
                record = _sample(tar, where, key, ((extension, member) for (_, extension), member in group), counter)
                if record is not None:
                    yield record
    except (tarfile.TarError, OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeDecodeError, ValueError) as error:
        raise DataError(f"{where} is not a readable tar, or damaged ({' '.join(str(error).split())}).") from error


def _files(tar: tarfile.TarFile, where: str, counter: LeftOutCounter) -> Iterator[tarfile.TarInfo]:
    """Regular files that are not hidden. Links, devices and folders are passed over: nothing is followed."""
    total = 0
    while (member := tar.next()) is not None:
        tar.members.clear()  # type: ignore[attr-defined]  # tarfile remembers every header it has seen
        parts = member.name.replace("\\", "/").split("/")
        if member.name.startswith("/") or ".." in parts:
            raise DataError(
                f"{where}: entry {member.name!a} points outside the archive; refused. Re-pack it without '..' and leading '/'."
            )
        total += member.size
        if total > _MAX_TOTAL:
            raise DataError(f"{where} unpacks to more than {_MAX_TOTAL:,} bytes; refused. Use smaller shards.")
        if member.isdir():
            continue
        if not member.isreg():
            counter.add("links and devices in tars, which are not followed", _place(where, member.name))
        elif parts[-1].startswith("."):
            counter.add("hidden files in tars", _place(where, member.name))
        else:
            yield member


def _place(where: str, name: str) -> str:
    return f"{where.rpartition('/')[2]}/{name}"


def _sample(
    tar: tarfile.TarFile, where: str, key: str, files: Iterator[tuple[str, tarfile.TarInfo]], counter: LeftOutCounter
) -> EncodedImage | None:
    """A sample from its files; None without an image.

    Of several images, the first with a plain name counts ("1.jpg", not "1.seg.png"), else the first.
    """
    data: bytes | None = None
    taken, taken_from = "", ""
    problem, label = "", None
    first: str | None = None
    for extension, member in files:
        place = _place(where, member.name)
        last = "." + extension.rpartition(".")[2]
        if last not in FOREIGN:
            first = first or place
        if extension == "cls":
            if member.size <= _MAX_TEXT:
                label = label_text(_read(tar, member).decode("utf-8", "replace"))
        elif extension == "json":
            if member.size <= _MAX_TEXT and label is None:
                label = _json_label(_read(tar, member))
        elif last in FOREIGN:
            counter.add(f"{last} images, which are not decoded", place)
        elif last in EXTENSIONS and data is not None and not ("." in taken and "." not in extension):
            counter.add(_FURTHER, place)
        elif last in EXTENSIONS:
            if data is not None:
                counter.add(_FURTHER, taken_from)
            taken, taken_from = extension, place
            too_large = member.size > MAX_RECORD
            problem = f"{member.size:,} bytes; at most {MAX_RECORD:,}" if too_large else ""
            data = b"" if too_large else _read(tar, member)
        elif last not in _TEXTS and data is None and 0 < member.size <= MAX_RECORD:
            content = _read(tar, member)
            if sniff(content[:SNIFFED]) in EXTENSIONS:
                data, taken, taken_from = content, extension, place
    if data is None and first is not None:
        counter.add("samples without an image, labels among them", first)
    return None if data is None else EncodedImage(key, data, label, problem=problem)


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
    label = value.get("label", value.get("cls")) if isinstance(value, dict) else None
    return label_text(label) if isinstance(label, (str, int, float)) else None


@dataclass(frozen=True)
class Shard:
    """Attributes:
    name: its address below what all shards of the set share; unique. file: fsspec's OpenFile (may be pickled).
    """

    name: str
    file: Any

    @property
    def url(self) -> str:
        """The whole address."""
        return str(self.file.full_name)


def is_shards(source: str) -> bool:
    """Whether a source names shards: a URL, a glob, a tar, or a .txt file with one of these per line."""
    if "://" in source or source.endswith(TARS) or _is_glob(source):
        return True
    path = Path(source).expanduser()
    return path.suffix == ".txt" and path.is_file()


def list_shards(source: str) -> tuple[Shard, ...]:
    """The shards that a source names (see :func:`is_shards`), in the order given, globs sorted, each once.

    Raises:
        DataError: none found, a file of another kind, no driver for a protocol, or a store that refuses.
    """
    specs = [source]
    if source.endswith(".txt") and "://" not in source:
        try:
            lines = Path(source).expanduser().read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{source} is no readable list of shards ({_line(error)}).") from error
        specs = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
    files: dict[str, Any] = {}
    for spec in specs:
        try:
            found = _open(spec)
        except Exception as error:  # a driver raises what its service's client raises
            raise DataError(f"{spec}: {_line(error)}.") from error
        if not found:
            raise DataError(f"no shards at {spec}.")
        files |= {item.full_name: item for item in found}
    if not files:
        raise DataError(f"{source} names no shards; write one path, glob or URL per line.")
    for url in files:
        if not url.endswith(SUFFIXES):
            raise DataError(f"{url} is no shard: legal are {', '.join(SUFFIXES)}.")
    shared = _shared_folder(list(files))
    return tuple(Shard(url[len(shared) :], item) for url, item in files.items())


def _is_glob(spec: str) -> bool:
    """Whether it contains a pattern. In a URL only "*" counts: "?" begins a query, "[" an address."""
    return "*" in spec or ("://" not in spec and any(c in spec for c in "?[") and not Path(spec).expanduser().exists())


def _open(spec: str) -> list[Any]:
    """fsspec's OpenFile of each file that a path, URL or glob names."""
    import fsspec

    if not _is_glob(spec):
        return list(fsspec.open_files([spec], "rb", expand=False))
    system, path = fsspec.url_to_fs(spec)
    return [fsspec.core.OpenFile(system, found, "rb") for found in sorted(system.glob(path))]


def _shared_folder(urls: list[str]) -> str:
    first, last = min(urls), max(urls)
    same = next((i for i, (a, b) in enumerate(zip(first, last, strict=False)) if a != b), len(first))
    return first[:same].rpartition("/")[0] + "/"


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def read_records(
    shard: Shard, read: ReadOptions = AS_FOUND, left_out: LeftOutCounter | None = None
) -> Iterator[EncodedImage]:
    """The images of one shard, still encoded. Raises DataError when it is missing or damaged."""
    try:
        opened: IO[bytes] = shard.file.open()
    except Exception as error:  # a driver raises what its service's client raises
        raise DataError(f"{shard.url} cannot be opened ({_line(error)}).") from error
    with opened as file:
        if shard.url.endswith(TARS):
            yield from tar_records(file, shard.url, left_out)
        else:
            opened_parquet = open_parquet(file, shard.url)
            table = choose_columns(opened_parquet, shard.url, read.image_column, read.label_column)
            yield from parquet_records(opened_parquet, shard.url, table, left_out)


def shard_notes(shard: Shard, read: ReadOptions = AS_FOUND) -> tuple[str, ...]:
    """Notes on the columns chosen in a Parquet shard."""
    if shard.url.endswith(TARS):
        return ()
    with shard.file.open() as file:
        return choose_columns(open_parquet(file, shard.url), shard.url, read.image_column, read.label_column).notes


def _decoded(record: EncodedImage, value_range: ValueRange | None = None) -> Image.Image | str:
    try:
        return decode(record.data, value_range) if not record.problem else record.problem
    except ValueError as error:
        return str(error)


def read_shard(
    shard: Shard,
    size: int,
    on_skip: OnSkip,
    *,
    read: ReadOptions = AS_FOUND,
    left_out: LeftOutCounter | None = None,
) -> Iterator[ShardImage]:
    """The images of one shard, decoded to ``size`` x ``size`` in threads; some dozens are in memory at once.

    Args:
        on_skip: called with each unreadable image.
        read: its ``value_range`` is that of all shards (:func:`range_of_shards`); without one, each image has its own.
        left_out: counts whatever else does not become an image.
    Raises:
        DataError: the shard is missing or damaged.
    """

    def work(record: EncodedImage) -> ShardImage | Skipped:
        name = f"{shard.name}/{record.key}"
        image = _decoded(record, read.value_range)
        if isinstance(image, str):
            return Skipped(name, image)
        split = record.split if record.split is not None else own_split
        return ShardImage(name, to_square(image, size), record.label, split or "train")

    own_split = split_of_shard(shard.name)
    for done in prefetch_map(work, read_records(shard, read, left_out), _AHEAD):
        if isinstance(done, Skipped):
            on_skip(done)
        else:
            yield done


def split_of_shard(name: str) -> str | None:
    """The split that a shard's file or folder is named after, as in "train-00000-of-00002.parquet" and "val/3.tar"."""
    *folders, file = name.split("/")
    words = [
        word
        for word in re.split(r"[-_.]", file)
        if word and not re.fullmatch(r"\d+|of|tar|gz|tgz|bz2|xz|parquet", word)
    ]
    named = {split for word in words if (split := split_name(word))} or {
        s for folder in folders if (s := split_name(folder))
    }
    return next(iter(named)) if len(named) == 1 else None


def range_of_shards(shards: Sequence[Shard], read: ReadOptions = AS_FOUND) -> tuple[ValueRange | None, tuple[str, ...]]:
    """One range for the deep gray images of all shards, and a note on it; None where the first images are ordinary ones.

    Only where the first shard begins with deep images are all shards read for it.
    """
    if not any(_levels_in(shards[0], read, _PROBED)):
        return None, ()
    levels = [own for shard in shards for own in _levels_in(shard, read) if own is not None]
    used = common_range(levels)
    return used, (range_note(used, levels, given=False),)


def _levels_in(shard: Shard, read: ReadOptions, most: int | None = None) -> Iterator[GrayLevels | None]:
    """Of each image, up to where the shard is damaged: what reads its images tells that."""
    with contextlib.suppress(DataError):
        for record in islice(read_records(shard, read), most):
            yield gray_levels(record.data)


def sizes(shard: Shard, most: int, read: ReadOptions = AS_FOUND) -> list[tuple[int, int]]:
    """(width, height) of the readable ones among the first ``most`` images."""
    first = (_decoded(record) for record in islice(read_records(shard, read), most))
    return [image.size for image in first if not isinstance(image, str)]


def stream(
    source: str,
    *,
    size: int,
    seed: int = 0,
    epoch: int = 0,
    buffer: int = 10_000,
    rank: int = 0,
    world: int = 1,
    on_skip: OnSkip = lambda item: None,
) -> Iterator[ShardImage]:
    """One epoch over sharded images in a random order that (seed, epoch, rank) fixes, for loops of one's own.

    Shards are shuffled and shared out among the ranks; a buffer of ``buffer`` decoded images mixes those of neighbouring
    shards: each step gives a random one of it and puts the next image in its place.

    Raises:
        DataError: see :func:`list_shards` and :func:`read_shard`.
    """
    shards = list_shards(source)
    order = np.random.default_rng([seed, epoch]).permutation(len(shards))[rank::world]
    rng = np.random.default_rng([seed, epoch, rank])
    held: list[ShardImage] = []
    for number in order:
        for sample in read_shard(shards[number], size, on_skip):
            if len(held) < buffer:
                held.append(sample)
                continue
            k = int(rng.integers(buffer))
            held[k], sample = sample, held[k]
            yield sample
    yield from (held[k] for k in rng.permutation(len(held)))
