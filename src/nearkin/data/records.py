"""One image of a shard, before and after it is decoded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

MAX_RECORD = 64 * 1024**2  # bytes of one encoded image of a shard; some dozens of them are in memory at once


@dataclass(frozen=True)
class Record:
    """An encoded image.

    Attributes:
        key: its name inside the shard. data: the file's bytes; empty where ``problem`` says why it cannot be read.
        label: class name, None where unknown. split: "train", "test", ... as the shard says.
    """

    key: str
    data: bytes
    label: str | None = None
    split: str = "train"
    problem: str = ""


@dataclass(frozen=True)
class Sample:
    """A decoded image: ``pixels`` uint8 (3, S, S); ``id`` is "SHARD/KEY"; label and split as in :class:`Record`."""

    id: str
    pixels: NDArray[np.uint8]
    label: str | None
    split: str
