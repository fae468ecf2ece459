"""Stores: decoded images in one memory-mapped file, made once of shards, for sets that do not fit in memory.

A folder with images.npy (uint8 (N, 3, S, S)), index.parquet (id, label, split) and store.json.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from nearkin.data.fingerprint import fingerprint
from nearkin.data.folder import SIZES, choose_size
from nearkin.data.imageset import Dataset, Skipped, parts_by_name
from nearkin.data.npyfile import NpyWriter
from nearkin.data.progress import file_bar
from nearkin.data.shards import Shard, list_shards, read_shard, sizes
from nearkin.errors import DataError, OutputError, reading
from nearkin.fileio import check_parquet, regular

_META = "store.json"
_VERSION = 1
_PROBE = 200  # images whose size decides the common one


def is_store(folder: Path) -> bool:
    """Whether :func:`ingest` made this folder."""
    return (folder / _META).is_file()


def ingest(source: str, out: Path, *, size: int | None = None, strict: bool = False, progress: bool = True) -> None:
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
        found = sizes(shards[0], _PROBE)
        size = choose_size(found) if found else SIZES[0]
    temporary: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=".tmp-"))
        _fill(temporary, source, shards, size, strict, progress)
        temporary.rename(out)
    except OSError as error:
        raise OutputError(f"cannot write {out}: {error.strerror or error}. Free space or choose another -o.") from error
    finally:
        if temporary is not None:  # left by an error or an interrupt
            shutil.rmtree(temporary, ignore_errors=True)


def _fill(folder: Path, source: str, shards: tuple[Shard, ...], size: int, strict: bool, progress: bool) -> None:
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
    with (
        NpyWriter(folder / "images.npy") as writer,
        file_bar("reading shards", len(shards), enabled=progress, least=2) as advance,
    ):
        for shard in shards:
            for sample in read_shard(shard, size, skip):
                writer.append(sample.pixels)
                ids.append(sample.id)
                labels.append(sample.label)
                splits.append("test" if sample.split == "test" else "train")
            advance()
    if not ids:
        raise DataError(f"{source}: none of the {len(skipped)} images of its {len(shards)} shards is readable.")
    table = pa.table({"id": ids, "label": pa.array(labels, pa.string()), "split": pa.array(splits).dictionary_encode()})
    pq.write_table(table, folder / "index.parquet")
    meta = {"version": _VERSION, "source": source, "skipped": [vars(item) for item in skipped], "fingerprint": ""}
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
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        index = regular(folder / "index.parquet")
        check_parquet(index, pq.read_metadata(index), index.stat().st_size)
        table = pq.read_table(index, columns=["id", "label", "split"])
        texts = table.cast(pa.schema([(name, pa.string()) for name in table.column_names]))  # a crafted file has others
        texts.validate(full=True)
        ids = np.array(texts["id"].to_pylist(), dtype=np.str_)
        names, split = texts["label"].to_pylist(), np.array(texts["split"].to_pylist(), dtype=np.str_)
    if version != _VERSION or images.dtype != np.uint8 or images.ndim != 4 or len(images) != len(ids):
        raise DataError(
            f"the store {folder} is of another version or cut off. Make it again with 'nearkin data ingest'."
        )
    train, test = parts_by_name(images, ids, names, split)
    return Dataset(folder.name, source, train, test, digest, skipped)
