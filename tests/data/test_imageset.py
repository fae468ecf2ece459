"""Sets of images: splits that are disjoint, stratified and seeded; rows of a memory map that behave as an array."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearkin import data as nd
from nearkin.data import Dataset, ImageSet
from nearkin.data import imageset as module
from nearkin.data.imageset import MappedRows, in_memory, take_rows
from nearkin.data.store import NpyWriter
from nearkin.errors import ConfigError, DataError


def make(n: int, n_test: int | None = None, labelled: bool = True) -> Dataset:
    def part(name: str, count: int) -> ImageSet:
        labels = (np.arange(count) % 4).astype(np.int64) if labelled else None
        ids = np.array([f"{name}{i}" for i in range(count)])
        images = np.random.default_rng(0).integers(0, 256, (count, 3, 8, 8), dtype=np.uint8)
        return ImageSet(images, ids, labels, tuple("abcd") if labelled else ())

    return Dataset("x", "x", part("train", n), None if n_test is None else part("test", n_test), "f")


@pytest.mark.parametrize("n_test", [None, 40])
@pytest.mark.parametrize("labelled", [True, False])
def test_disjoint_and_complete(n_test: int | None, labelled: bool) -> None:
    s = nd.split(make(400, n_test, labelled))
    ids = np.concatenate([s.train.ids, s.val.ids, s.test.ids])
    assert len(set(ids.tolist())) == len(ids) == 400 + (n_test or 0)
    if labelled:
        assert s.val.labels is not None
        assert np.bincount(s.val.labels).min() == np.bincount(s.val.labels).max()


def test_seed_and_subset() -> None:
    data = make(400, 40)
    a, b, c = nd.split(data), nd.split(data), nd.split(data, seed=1)
    assert a.val.ids.tolist() == b.val.ids.tolist() != c.val.ids.tolist()
    s = nd.split(data, subset=100)
    assert len(s.train) + len(s.val) == 100 and len(s.test) == 40
    assert len(nd.split(data, subset=5000).train) == 360


def test_bad_settings() -> None:
    with pytest.raises(ConfigError, match="subset"):
        nd.split(make(100), subset=3)
    with pytest.raises(ConfigError, match="val_fraction"):
        nd.split(make(100), val_fraction=0)
    with pytest.raises(DataError, match="at least 10"):
        nd.split(make(6))


def test_nothing_to_learn() -> None:
    images = np.zeros((20, 3, 8, 8), dtype=np.uint8)
    with pytest.raises(DataError, match="identical"):
        nd.check_trainable(images, "x")
    with pytest.raises(DataError, match="1 image"):
        nd.check_trainable(images[:1], "x")
    images[19, 0, 0, 0] = 1
    nd.check_trainable(images, "x")


IMAGES = np.random.default_rng(0).integers(0, 256, (50, 3, 4, 4), dtype=np.uint8)
INDEX = np.random.default_rng(1).permutation(50)[:20]


@pytest.fixture
def mapped(tmp_path: Path) -> np.memmap:
    with NpyWriter(tmp_path / "x.npy") as writer:
        for image in IMAGES:
            writer.append(image)
    out = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert isinstance(out, np.memmap)
    return out


def test_a_growing_file_is_the_array(mapped: np.memmap) -> None:
    assert mapped.shape == IMAGES.shape and np.array_equal(mapped, IMAGES)


def test_a_file_that_was_not_finished_holds_nothing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), NpyWriter(tmp_path / "x.npy") as writer:
        writer.append(IMAGES[0])
        raise KeyboardInterrupt
    assert len(np.load(tmp_path / "x.npy")) == 0


def test_every_way_to_read(mapped: np.memmap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESIDENT", 0)
    rows, plain = take_rows(mapped, INDEX), IMAGES[INDEX]
    assert isinstance(rows, MappedRows)
    assert (rows.shape, rows.dtype, rows.ndim, rows.nbytes, len(rows)) == (plain.shape, np.uint8, 4, plain.nbytes, 20)
    for key in (3, -1, slice(2, 9), slice(None, None, -1), np.array([4, 4, 0]), np.arange(20) % 3 == 0):
        assert np.array_equal(rows[key], plain[key])
    assert np.array_equal(np.asarray(rows), plain) and np.array_equal(np.concatenate([rows, rows])[20:], plain)
    assert np.array_equal(np.stack(list(rows)), plain)
    assert np.asarray(rows, dtype=np.float32).dtype == np.float32
    again = take_rows(rows, np.array([5, 1]))
    assert isinstance(again, MappedRows) and np.array_equal(again[:], plain[[5, 1]])
    with pytest.raises(IndexError):
        rows[20]


def test_small_choices_and_arrays_are_copied(mapped: np.memmap) -> None:
    for images in (mapped, IMAGES):
        found = take_rows(images, INDEX)
        assert type(found) is np.ndarray and np.array_equal(found, IMAGES[INDEX])


def test_split_and_describe_are_those_of_the_array(mapped: np.memmap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RESIDENT", 0)
    ids = np.array([f"{i:02d}" for i in range(50)])
    labels = np.arange(50) % 3

    def dataset(images: np.ndarray) -> nd.Dataset:
        return nd.Dataset("x", "x", ImageSet(images, ids, labels, ("a", "b", "c")), None, "f")

    a, b = nd.split(dataset(mapped)), nd.split(dataset(IMAGES))
    assert isinstance(a.train.images, MappedRows)
    for name in ("train", "val", "test"):
        left, right = getattr(a, name), getattr(b, name)
        assert np.array_equal(left.images, right.images) and left.ids.tolist() == right.ids.tolist()
    assert nd.describe(nd.Dataset("x", "x", a.train, a.val, "f")) == nd.describe(
        nd.Dataset("x", "x", b.train, b.val, "f")
    )


def test_small_sets_leave_their_file(mapped: np.memmap, monkeypatch: pytest.MonkeyPatch) -> None:
    for images in (mapped, MappedRows(mapped, INDEX), IMAGES):
        copied = in_memory(images)  # type: ignore[arg-type]
        assert type(copied) is np.ndarray and np.array_equal(copied, np.asarray(images))
    assert in_memory(IMAGES) is IMAGES
    monkeypatch.setattr(module, "RESIDENT", 0)
    assert in_memory(mapped) is mapped


def test_splits_of_a_small_set_do_not_keep_its_file_mapped(mapped: np.memmap) -> None:
    whole = ImageSet(mapped, np.array([str(i) for i in range(50)]))
    split = np.array(["train"] * 40 + ["test"] * 10)
    train, test = (whole.take(np.flatnonzero(split == name)) for name in ("train", "test"))
    assert isinstance(test.images, np.memmap)
    splits = nd.split(nd.Dataset("x", "x", train, test, "f"))
    for part in (splits.train, splits.val, splits.test):
        assert type(part.images) is np.ndarray and not isinstance(part.images.base, np.memmap)
    assert np.array_equal(splits.test.images, IMAGES[40:])
