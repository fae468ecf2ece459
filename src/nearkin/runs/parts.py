"""The parts that a set is embedded in: a shard each, or some thousand neighbouring images."""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.data.shards import OnSkip, Shard, is_shards, list_shards, read_shard

ROWS = 65_536  # images in a part of a set that has no shards
BATCH = 1024  # images in memory at once


@dataclass(frozen=True)
class Batch:
    """Some images of one part: uint8 (B, 3, S, S), with their ids, class names (None where unknown) and splits."""

    images: NDArray[np.uint8]
    ids: list[str]
    labels: list[str | None]
    splits: list[str]


class Part(Protocol):
    """What is embedded at a time, and lies in one file."""

    @property
    def name(self) -> str:
        """The file's name without suffix; unique in its set."""

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """The images at ``size`` x ``size``, at most BATCH at a time. Raises DataError where they cannot be read."""


@dataclass(frozen=True)
class ShardPart:
    """One shard."""

    shard: Shard

    @property
    def name(self) -> str:
        """The shard's file name and a digest of its URL: it does not depend on the other shards."""
        file = re.sub(r"[^\w.-]", "_", self.shard.url.rpartition("/")[2])[-80:]
        return f"{file}-{hashlib.sha256(self.shard.url.encode()).hexdigest()[:8]}"

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """See :class:`Part`."""
        samples = read_shard(self.shard, size, on_skip)
        while some := list(islice(samples, BATCH)):
            images = np.stack([sample.pixels for sample in some])
            yield Batch(images, [s.id for s in some], [s.label for s in some], [s.split for s in some])


@dataclass(frozen=True)
class Source:
    """A set without shards, as 'nearkin embed' names it. Held-out images are drawn as in training."""

    data: str
    labels: Path | None
    size: int
    strict: bool
    subset: int | None
    progress: bool


@functools.lru_cache(maxsize=1)
def splits_of(source: Source) -> nd.Splits:
    """Train, validation and test of a set; the last one asked for stays loaded."""
    dataset = nd.load(
        source.data, labels=source.labels, size=source.size, strict=source.strict, progress=source.progress
    )
    return nd.split(dataset, subset=source.subset)


@dataclass(frozen=True)
class RowsPart:
    """Neighbouring images of one split."""

    source: Source
    split: str
    start: int

    @property
    def name(self) -> str:
        """The split and the first image's number."""
        return f"{self.split}-{self.start:09d}"

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """See :class:`Part`."""
        items: nd.ImageSet = getattr(splits_of(self.source), self.split)
        stop = min(self.start + ROWS, len(items))
        for start in range(self.start, stop, BATCH):
            rows = slice(start, min(start + BATCH, stop))
            numbers = items.known_labels()[rows]
            names = [items.classes[k] if k >= 0 else None for k in numbers]
            yield Batch(np.asarray(items.images[rows]), items.ids[rows].tolist(), names, [self.split] * len(names))


def parts_of(source: Source) -> list[Part]:
    """The parts of a set, in order. Raises DataError where there is none."""
    if is_shards(source.data):
        return [ShardPart(shard) for shard in list_shards(source.data)]
    splits = splits_of(source)
    return [
        RowsPart(source, split, start)
        for split in ("train", "val", "test")
        for start in range(0, len(getattr(splits, split)), ROWS)
    ]
