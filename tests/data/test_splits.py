"""Splits: disjoint, stratified, fixed by the seed."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin import data as nd
from nearkin.data import Dataset, ImageSet
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
