"""The built-in set: seeded, balanced, hard for pixels, its factors true."""

from __future__ import annotations

import numpy as np

from nearkin.data.shapes import CLASSES, SHARED_BACKGROUND, TEXTURES, shapes
from nearkin.evaluate.knn import knn_accuracy


def test_seeded_and_balanced() -> None:
    a, b, c = shapes(400, 80), shapes(400, 80), shapes(400, 80, seed=1)
    assert a.fingerprint == b.fingerprint != c.fingerprint
    assert a.train.images.shape == (400, 3, 32, 32) and a.train.images.dtype == np.uint8
    assert a.train.labels is not None and np.bincount(a.train.labels).tolist() == [50] * 8
    assert set(a.train.factors) == {"background", "background_hue", "foreground_hue", "y", "x", "size", "angle"}


def test_one_pair_shares_its_backgrounds() -> None:
    data = shapes(2000, 10).train
    assert data.labels is not None
    for k, name in enumerate(CLASSES):
        textures = set(data.factors["background"][data.labels == k].tolist())
        assert textures == ({0, 1} if name in SHARED_BACKGROUND else set(range(len(TEXTURES))))


def test_pixels_are_a_poor_guide() -> None:
    data = shapes()
    assert data.test is not None and data.train.labels is not None and data.test.labels is not None
    flat = [s.images.reshape(len(s), -1).astype(np.float32) for s in (data.train, data.test)]
    accuracy = knn_accuracy(flat[0], data.train.labels, flat[1], data.test.labels)
    assert 0.125 < accuracy < 0.3  # chance is 0.125


def test_factors_do_not_give_the_class_away() -> None:
    data = shapes(4000, 10).train
    assert data.labels is not None
    for name in ("x", "y", "size", "angle", "background_hue", "foreground_hue"):
        means = [data.factors[name][data.labels == k].astype(float).mean() for k in range(8)]
        assert np.ptp(means) < 0.35 * data.factors[name].astype(float).std()
