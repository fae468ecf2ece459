"""Decoded images on disk: the cache of folders, and stores made of shards."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from nearkin.data.decode import AS_FOUND, SIZES, ReadOptions, ValueRange, choose_size
from nearkin.data.imageset import Dataset, LeftOut, LeftOutCounter, Skipped, fingerprint, parts_by_name
from nearkin.data.parquet import splits_of_cells
from nearkin.data.shards import (
    TARS,
    Shard,
    list_shards,
    range_of_shards,
    read_shard,
    shard_notes,
    sizes,
    split_of_shard,
)
from nearkin.errors import ConfigError, DataError, OutputError, reading
from nearkin.fileio import check_parquet, regular
from nearkin.system import file_bar

_META = "store.json"
_STORE_VERSION = 1
_PROBE = 200  # images whose sizes decide the common size
_CACHE_VERSION = 2
_KEY_LENGTH = 32
_STAMPS = ("size", "mtime", "ETag", "LastModified", "last_modified", "md5Hash")


class NpyWriter:
    """Appends uint8 arrays of one shape; the file is valid after the ``with`` block, and holds no rows before.

    NumPy pads a header so that its first dimension can grow in place (numpy.lib.format, "growth axis").
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows = 0
        self._shape: tuple[int, ...] = (3, 1, 1)

    def __enter__(self) -> NpyWriter:
        self._file: IO[bytes] = open(self.path, "wb")  # noqa: SIM115 (closed by __exit__)
        return self

    def append(self, row: NDArray[np.uint8]) -> None:
        """Add one image, uint8 (3, S, S), as large as the first."""
        if not self.rows:
            self._shape = row.shape
            self._header(0)
        self._file.write(np.ascontiguousarray(row).data)
        self.rows += 1

    def _header(self, rows: int) -> None:
        self._file.seek(0)
        form = {"descr": "|u1", "fortran_order": False, "shape": (rows, *self._shape)}
        npy.write_array_header_1_0(self._file, form)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._file:
            if kind is None:
                self._header(self.rows)


def default_root() -> Path:
    """$NEARKIN_CACHE, or $XDG_CACHE_HOME/nearkin, or ~/.cache/nearkin."""
    base = os.environ.get("NEARKIN_CACHE")
    if base:
        return Path(base)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "nearkin"


@dataclass(frozen=True)
class DecodedIndex:
    """The record of decoded images: their paths, unreadable files, notes, and the range of gray deeper than 8 bits."""

    paths: list[str]
    skipped: list[Skipped]
    notes: list[str]
    value_range: ValueRange | None = None


Decoded = tuple[NDArray[np.uint8], DecodedIndex]


class Cache:
    """Decoded sets: decoded/KEY/images.npy (memory-mapped) and index.json, KEY a digest of content and settings.

    Reading all files only to hash them would cost most of what the cache saves, so stamps/ remembers which key
    belongs to which listing (folder, names, sizes, modification times). A moved or copied folder misses the stamp,
    is hashed, and finds its images by content.
    A cache that cannot be written or read is no error: the set is decoded again.
    """

    def __init__(self, root: Path | None) -> None:
        self.root = root or default_root()

    def _stamp_file(self, stamp: str) -> Path:
        return self.root / "stamps" / _digest(stamp)

    def key_of(self, stamp: str) -> str | None:
        """The content key remembered for this listing, or None."""
        try:
            key = self._stamp_file(stamp).read_text(encoding="ascii").strip()
        except (OSError, ValueError):
            return None
        return key if len(key) == _KEY_LENGTH and key.isalnum() else None

    def remember(self, stamp: str, key: str) -> None:
        """Note that this listing has this content."""
        try:
            file = self._stamp_file(stamp)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(key, encoding="ascii")
        except OSError:
            return

    @staticmethod
    def key(contents: str, settings: str) -> str:
        """The key of a set with this digest of its files, decoded with these settings."""
        return _digest(f"{_CACHE_VERSION}\n{contents}\n{settings}")

    def load(self, key: str) -> Decoded | None:
        """The cached set, or None if it is missing or damaged."""
        folder = self.root / "decoded" / key
        try:
            index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
            images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
            skipped = [Skipped(**item) for item in index["skipped"]]
            paths, notes, used = list(index["paths"]), list(index["notes"]), ReadOptions.of(index).value_range
        except (OSError, ValueError, KeyError, TypeError, EOFError):
            return None
        if images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(paths):
            return None
        return images, DecodedIndex(paths, skipped, notes, used)

    def save(self, key: str, fill: Callable[[Callable[[NDArray[np.uint8]], None]], DecodedIndex]) -> Decoded | None:
        """Let ``fill(append)`` write the images one by one, and map them; None where the disk refuses.

        They go to a temporary folder that is renamed, so that an entry is whole or not there.
        """
        folder = self.root / "decoded" / key
        temporary: Path | None = None
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".tmp-"))
            with NpyWriter(temporary / "images.npy") as writer:
                made = fill(writer.append)
            index = {"paths": made.paths, "skipped": [vars(item) for item in made.skipped], "notes": made.notes}
            index |= ReadOptions(value_range=made.value_range).given()
            (temporary / "index.json").write_text(json.dumps(index), encoding="utf-8")
            shutil.rmtree(folder, ignore_errors=True)  # a damaged one would block the rename
            os.replace(temporary, folder)
        except OSError:
            return None
        finally:
            if temporary is not None:  # left by an error or an interrupt
                shutil.rmtree(temporary, ignore_errors=True)
        return self.load(key)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:_KEY_LENGTH]


def is_store(folder: Path) -> bool:
    """Whether :func:`ingest` made this folder."""
    return (folder / _META).is_file()


def ingest(
    source: str,
    out: Path,
    *,
    size: int | None = None,
    strict: bool = False,
    progress: bool = True,
    read: ReadOptions = AS_FOUND,
) -> None:
    """Decode sharded images into a new store, one after another: memory does not grow with the set, but for the names.

    Args:
        size: side S in pixels; default as for folders, by the first images of the first shard.
        strict: fail at the first unreadable image.
    Raises:
        DataError: no shards, an unreadable shard, or no readable image. OutputError: ``out`` exists, or the disk refuses.
    """
    if out.exists():
        raise OutputError(f"{out} exists already. Delete it, or choose another -o.")
    shards = list_shards(source)
    if size is None:
        first = sizes(shards[0], _PROBE, read)
        size = choose_size(first) if first else SIZES[0]
    notes = shard_notes(shards[0], read)
    if read.value_range is None:
        used, told = range_of_shards(shards, read)
        read, notes = replace(read, value_range=used), notes + told
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=".tmp-"))
        _fill(temporary, source, shards, size, strict, progress, read, notes)
        temporary.rename(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}. Free space or choose another -o.") from error
    finally:
        if temporary is not None:  # left by an error or an interrupt
            shutil.rmtree(temporary, ignore_errors=True)


def _fill(
    folder: Path,
    source: str,
    shards: tuple[Shard, ...],
    size: int,
    strict: bool,
    progress: bool,
    read: ReadOptions,
    notes: tuple[str, ...],
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    skipped: list[Skipped] = []

    def skip(item: Skipped) -> None:
        if strict:
            raise DataError(f"{source}: {item.path}: {item.reason} (--strict).")
        skipped.append(item)

    ids: list[str] = []
    labels: list[str | None] = []
    splits: list[str] = []
    seen: set[str] = set()
    left_out = LeftOutCounter()
    with (
        NpyWriter(folder / "images.npy") as writer,
        file_bar("reading shards", len(shards), enabled=progress, least=2) as advance,
    ):
        for shard in shards:
            for sample in read_shard(shard, size, skip, read=read, left_out=left_out):
                name, again = sample.id, 1
                while name in seen:  # ids are unique, names in a shard need not be
                    again += 1
                    name = f"{sample.id}#{again}"
                seen.add(name)
                writer.append(sample.pixels)
                ids.append(name)
                labels.append(sample.label)
                splits.append(sample.split)
            advance()
    if not ids:
        first = f"; first: {skipped[0].path}: {skipped[0].reason}" if skipped else ""
        raise DataError(f"{source}: none of the {len(skipped)} images of its {len(shards)} shards is readable{first}.")
    serves, more = splits_of_cells(splits)
    table = pa.table({"id": ids, "label": pa.array(labels, pa.string()), "split": pa.array(serves).dictionary_encode()})
    pq.write_table(table, folder / "index.parquet")
    meta = {"version": _STORE_VERSION, "source": source, "skipped": [vars(item) for item in skipped], "fingerprint": ""}
    meta |= {"notes": [*notes, *more], "left_out": [vars(item) for item in left_out.all()]}
    meta |= {"value_range": list(read.value_range)} if read.value_range is not None else {}
    (folder / _META).write_text(json.dumps(meta), encoding="utf-8")
    made = open_store(folder)
    meta["fingerprint"] = fingerprint(made.train, made.test)  # it reads everything once, so that no start has to
    (folder / _META).write_text(json.dumps(meta), encoding="utf-8")


def open_store(folder: Path) -> Dataset:
    """Map a store. Raises DataError when it is damaged, or was made by another version."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with reading(f"the store {folder} is damaged: it", "Make it again with 'nearkin data ingest'."):
        meta: dict[str, Any] = json.loads((folder / _META).read_text(encoding="utf-8"))
        version, source, digest = int(meta["version"]), str(meta["source"]), str(meta["fingerprint"])
        skipped = tuple(Skipped(str(item["path"]), str(item["reason"])) for item in meta["skipped"])
        notes = tuple(str(note) for note in meta.get("notes", ()))  # stores of before have none
        left_out = tuple(
            LeftOut(str(item["reason"]), int(item["count"]), str(item["example"])) for item in meta.get("left_out", ())
        )
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        index = regular(folder / "index.parquet")
        check_parquet(index, pq.read_metadata(index), index.stat().st_size)
        table = pq.read_table(index, columns=["id", "label", "split"])
        texts = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))  # a crafted file has others
        texts.validate(full=True)
        ids = np.array(texts["id"].to_pylist(), dtype=np.str_)
        names, split = texts["label"].to_pylist(), np.array(texts["split"].to_pylist(), dtype=np.str_)
    if version != _STORE_VERSION or images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(ids):
        raise DataError(
            f"the store {folder} is of another version or cut off. Make it again with 'nearkin data ingest'."
        )
    train, test = parts_by_name(images, ids, names, split)
    return Dataset(folder.name, source, train, test, digest, skipped, notes, left_out, ReadOptions.of(meta).value_range)


def load_store(folder: Path, size: int | None) -> Dataset:
    """Map a store. Raises ConfigError when its images have another side than ``size``; DataError when it is damaged."""
    store = open_store(folder)
    side = store.train.images.shape[-1]
    if size is not None and size != side:
        raise ConfigError(
            f"the store {folder} holds images of side {side}, not {size}. Ingest again with --size {size}."
        )
    return store


def load_shards(
    source: str,
    size: int | None,
    strict: bool,
    cache: Path | None,
    progress: bool,
    read: ReadOptions = AS_FOUND,
) -> Dataset:
    """Decode shards into a store in the cache, unless it is there already, and map that.

    Raises:
        DataError: see :func:`ingest`. OutputError: the cache cannot be written.
    """
    shards = list_shards(source)
    stamp = "\n".join([repr(size), *(shard_stamp(shard) for shard in shards)])
    if read != AS_FOUND:
        stamp += f"\n{read}"
    if any(split_of_shard(shard.name) for shard in shards):  # stores of before did not look at the names
        stamp += "\nsplits by name"
    if any(shard.url.endswith(TARS) for shard in shards):  # nor did they prefer 1.jpg to 1.seg.png
        stamp += "\nplain names first"
    folder = (cache or default_root()) / "stores" / hashlib.sha256(stamp.encode()).hexdigest()[:32]
    if not is_store(folder):
        try:
            ingest(source, folder, size=size, strict=strict, progress=progress, read=read)
        except OutputError as error:
            raise OutputError(
                f"cannot decode {source} into the cache ({error}) Set NEARKIN_CACHE, or use 'nearkin data ingest'."
            ) from error
    store = open_store(folder)
    if strict and store.skipped:
        first = store.skipped[0]
        raise DataError(f"{source}: {first.path}: {first.reason} ({len(store.skipped)} unreadable; --strict).")
    name = Path(shards[0].name).name.split(".")[0] if len(shards) == 1 else f"{len(shards)}-shards"
    return replace(store, name=name, source=source)


def shard_stamp(shard: Shard) -> str:
    """Text that changes when the shard does, as far as its file system tells."""
    try:
        info = shard.file.fs.info(shard.file.path)
    except Exception as error:  # a driver raises what its service's client raises
        raise DataError(f"{shard.url} cannot be opened ({' '.join(str(error).split())}).") from error
    return repr((shard.url, [str(info.get(name)) for name in _STAMPS]))
