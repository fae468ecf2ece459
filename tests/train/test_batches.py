"""Batches: the same images whether they lie in memory, in a mapped file, or are picked from one."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from nearkin.data.imageset import MappedRows
from nearkin.train.batches import Batches

IMAGES = np.random.default_rng(0).integers(0, 256, (40, 3, 4, 4), dtype=np.uint8)
INDEXES = [np.array([3, 0, 39]), np.array([5]), np.array([7, 7, 1, 20])]
CPU = torch.device("cpu")


def mapped(folder: Path) -> NDArray[np.uint8]:
    np.save(folder / "images.npy", IMAGES)
    out: NDArray[np.uint8] = np.load(folder / "images.npy", mmap_mode="r")
    return out


@pytest.mark.parametrize("kind", ["memory", "map", "rows"])
def test_batches_are_the_rows_asked_for(kind: str, tmp_path: Path) -> None:
    images: NDArray[np.uint8] = IMAGES if kind == "memory" else mapped(tmp_path)
    if kind == "rows":
        images = MappedRows(images, np.arange(40))  # type: ignore[assignment]
    batches = Batches(images, CPU)
    got = list(batches.in_turn(INDEXES))
    for index, batch in zip(INDEXES, got, strict=True):
        assert batch.dtype == torch.uint8
        np.testing.assert_array_equal(batch.numpy(), IMAGES[index])
        np.testing.assert_array_equal(batches(index).numpy(), IMAGES[index])


def test_from_disk_the_next_batch_is_read_while_the_present_one_is_used(tmp_path: Path) -> None:
    read: list[int] = []  # by which thread
    second = threading.Event()

    class Watched(MappedRows):
        def __getitem__(self, key: NDArray[np.int64]) -> NDArray[np.uint8]:
            read.append(threading.get_ident())
            if len(read) == 2:
                second.set()
            return super().__getitem__(key)

    watched: NDArray[np.uint8] = Watched(mapped(tmp_path), np.arange(40))  # type: ignore[assignment]
    batches = Batches(watched, CPU).in_turn(INDEXES)
    next(batches)
    assert second.wait(10)  # the consumer still holds the first
    assert threading.get_ident() not in read
    assert len(list(batches)) == 2
    assert len(read) == 3


def test_a_row_that_cannot_be_read_is_an_error_at_its_own_batch(tmp_path: Path) -> None:
    batches = Batches(mapped(tmp_path), CPU).in_turn([INDEXES[0], np.array([40])])
    next(batches)
    with pytest.raises(IndexError):
        next(batches)
