"""Sharded sets: WebDataset tars and image Parquet files, local or behind any fsspec URL, read front to back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import Image

from nearkin.data.decode import decode, to_square
from nearkin.data.imageset import Skipped
from nearkin.data.parquetshard import open_parquet, parquet_records
from nearkin.data.records import Record, Sample
from nearkin.data.tarshard import SUFFIXES as TARS
from nearkin.data.tarshard import tar_records
from nearkin.errors import DataError
from nearkin.system import map_ahead

SUFFIXES = (*TARS, ".parquet")
_AHEAD = 64  # images that are decoded before they are asked for

OnSkip = Callable[[Skipped], object]


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
    """Whether there is a pattern in it. In a URL only "*" counts: "?" begins a query, "[" an address."""
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


def read_records(shard: Shard) -> Iterator[Record]:
    """The images of one shard, still encoded. Raises DataError when it is missing or damaged."""
    try:
        opened: IO[bytes] = shard.file.open()
    except Exception as error:  # a driver raises what its service's client raises
        raise DataError(f"{shard.url} cannot be opened ({_line(error)}).") from error
    with opened as file:
        if shard.url.endswith(TARS):
            yield from tar_records(file, shard.url)
        else:
            yield from parquet_records(open_parquet(file, shard.url), shard.url)


def _decoded(record: Record) -> Image.Image | str:
    try:
        return decode(record.data) if not record.problem else record.problem
    except ValueError as error:
        return str(error)


def read_shard(shard: Shard, size: int, on_skip: OnSkip) -> Iterator[Sample]:
    """The images of one shard, decoded to ``size`` x ``size`` in threads; some dozens are in memory at once.

    Args:
        on_skip: called with each unreadable image.
    Raises:
        DataError: the shard is missing or damaged.
    """

    def work(record: Record) -> Sample | Skipped:
        name = f"{shard.name}/{record.key}"
        image = _decoded(record)
        if isinstance(image, str):
            return Skipped(name, image)
        return Sample(name, to_square(image, size), record.label, record.split)

    for found in map_ahead(work, read_records(shard), _AHEAD):
        if isinstance(found, Skipped):
            on_skip(found)
        else:
            yield found


def sizes(shard: Shard, most: int) -> list[tuple[int, int]]:
    """(width, height) of the readable ones among the first ``most`` images."""
    first = (_decoded(record) for record in islice(read_records(shard), most))
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
) -> Iterator[Sample]:
    """One epoch over sharded images in a random order that (seed, epoch, rank) fixes, for loops of one's own.

    Shards are shuffled and shared out among the ranks; a buffer of ``buffer`` decoded images mixes those of neighbouring
    shards: each step gives a random one of it and puts the next image in its place.

    Raises:
        DataError: see :func:`list_shards` and :func:`read_shard`.
    """
    shards = list_shards(source)
    order = np.random.default_rng([seed, epoch]).permutation(len(shards))[rank::world]
    rng = np.random.default_rng([seed, epoch, rank])
    held: list[Sample] = []
    for number in order:
        for sample in read_shard(shards[number], size, on_skip):
            if len(held) < buffer:
                held.append(sample)
                continue
            k = int(rng.integers(buffer))
            held[k], sample = sample, held[k]
            yield sample
    yield from (held[k] for k in rng.permutation(len(held)))
