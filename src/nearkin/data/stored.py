"""Stores as sources of ``load``: one that was made with 'nearkin data ingest', or one in the cache made of shards."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from nearkin.data.cache import default_root
from nearkin.data.imageset import Dataset
from nearkin.data.shards import Shard, list_shards
from nearkin.data.store import ingest, is_store, open_store
from nearkin.errors import ConfigError, DataError, OutputError

_STAMPS = ("size", "mtime", "ETag", "LastModified", "last_modified", "md5Hash")


def load_store(folder: Path, size: int | None) -> Dataset:
    """Map a store. Raises ConfigError when its images have another side than ``size``; DataError when it is damaged."""
    found = open_store(folder)
    side = found.train.images.shape[-1]
    if size is not None and size != side:
        raise ConfigError(
            f"the store {folder} holds images of side {side}, not {size}. Ingest again with --size {size}."
        )
    return found


def load_shards(source: str, size: int | None, strict: bool, cache: Path | None, progress: bool) -> Dataset:
    """Decode shards into a store in the cache, unless it is there already, and map that.

    Raises:
        DataError: see :func:`nearkin.data.store.ingest`. OutputError: the cache cannot be written.
    """
    shards = list_shards(source)
    stamp = "\n".join([repr(size), *(_stamp(shard) for shard in shards)])
    folder = (cache or default_root()) / "stores" / hashlib.sha256(stamp.encode()).hexdigest()[:32]
    if not is_store(folder):
        try:
            ingest(source, folder, size=size, strict=strict, progress=progress)
        except OutputError as error:
            raise OutputError(
                f"cannot decode {source} into the cache ({error}) Set NEARKIN_CACHE, or use 'nearkin data ingest'."
            ) from error
    found = open_store(folder)
    if strict and found.skipped:
        first = found.skipped[0]
        raise DataError(f"{source}: {first.path}: {first.reason} ({len(found.skipped)} unreadable; --strict).")
    name = Path(shards[0].name).name.split(".")[0] if len(shards) == 1 else f"{len(shards)}-shards"
    return replace(found, name=name, source=source)


def _stamp(shard: Shard) -> str:
    """Text that changes when the shard does, as far as its file system tells."""
    try:
        info = shard.file.fs.info(shard.file.path)
    except Exception as error:  # a driver raises what its service's client raises
        raise DataError(f"{shard.url} cannot be opened ({' '.join(str(error).split())}).") from error
    return repr((shard.url, [str(info.get(name)) for name in _STAMPS]))
