"""Trivial scores: each finds the anomaly it is made for, and none needs more than the training images."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from sklearn.metrics import roc_auc_score

from nearkin.anomalies.baseline_detectors import (
    TRIVIAL,
    feature_scores,
    image_features,
    pixel_base,
    pixel_index,
    pixel_knn,
)
from nearkin.errors import DataError

Images = NDArray[np.uint8]


def photos(n: int, seed: int = 0, low: int = 60, high: int = 190) -> Images:
    rng = np.random.default_rng(seed)
    base = rng.integers(low, high, (n, 3, 1, 1)) + rng.integers(-30, 30, (n, 3, 16, 16))
    return np.clip(base, 0, 255).astype(np.uint8)


def auc(score: str, train: Images, test: Images, out: Images) -> float:
    if score == "pixel-knn":
        index = pixel_index(train)
        a, b = pixel_knn(index, test), pixel_knn(index, out)
    else:
        base = image_features(train)
        a, b = (feature_scores(base, image_features(images))[score] for images in (test, out))
    return float(roc_auc_score([0] * len(a) + [1] * len(b), np.concatenate([a, b])))


def test_features_of_known_images() -> None:
    images = np.zeros((3, 3, 8, 8), dtype=np.uint8)
    images[1, 0] = 200  # pure red
    images[2, :, 1:-1, 1:-1] = 255  # white, black border
    found = image_features(images)
    np.testing.assert_allclose(found.intensity, [0, 200 / 3, 255 * 36 / 64])
    np.testing.assert_allclose(found.saturation, [0, 1, 0])
    np.testing.assert_allclose(found.border, [[0, 0, 0], [200, 0, 0], [0, 0, 0]])
    for image, size in zip(images, found.png_bytes, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(image.transpose(1, 2, 0)).save(buffer, format="PNG")
        assert size == len(buffer.getvalue())


@pytest.mark.parametrize("name", TRIVIAL)
def test_black_and_gray_images_are_found(name: str) -> None:
    black = np.zeros((40, 3, 16, 16), dtype=np.uint8)
    black[:, :, 5:9, 5:9] = 255
    assert auc(name, photos(200), photos(100, 1), black) > 0.95


@pytest.mark.parametrize("side", ["darker", "brighter"])
def test_direction_is_not_chosen(side: str) -> None:
    train, test = photos(200, low=110, high=140), photos(100, 1, low=110, high=140)
    out = photos(50, 2, low=60, high=80) if side == "darker" else photos(50, 2, low=180, high=200)
    assert auc("intensity", train, test, out) > 0.99


def test_scores_do_not_depend_on_the_other_queries() -> None:
    base = image_features(photos(100))
    a, b = image_features(photos(30, 1)), image_features(photos(30, 2, low=0, high=20))
    alone, both = (
        feature_scores(base, a),
        feature_scores(base, image_features(np.concatenate([photos(30, 1), photos(30, 2)]))),
    )
    for name, values in alone.items():
        np.testing.assert_allclose(values, both[name][:30])
    assert len(a.take(np.array([1, 2]))) == 2 and len(b) == 30


def test_deviation_is_in_units_of_the_mad() -> None:
    base, asked = image_features(photos(101)), image_features(photos(9, 1))
    median = np.median(base.intensity)
    mad = np.median(np.abs(base.intensity - median))
    np.testing.assert_allclose(feature_scores(base, asked)["intensity"], np.abs(asked.intensity - median) / mad)


def test_pixel_knn_is_brute_force() -> None:
    train, test = photos(50), photos(7, 1)
    a, b = (x.reshape(len(x), -1).astype(np.float64) / 255 for x in (test, train))
    expected = np.sort(np.linalg.norm(a[:, None] - b[None], axis=2))[:, :2].mean(axis=1)
    np.testing.assert_allclose(pixel_knn(pixel_index(train), test), expected, rtol=1e-3)
    many = np.lib.stride_tricks.as_strided(train, (70_000, 3, 16, 16), (0, *train.strides[1:]))
    rows = pixel_base(many, seed=3)
    assert len(rows) == 50_000 == len(np.unique(rows)) and (rows != pixel_base(many, seed=4)).any()
    large = np.lib.stride_tricks.as_strided(train, (70_000, 3, 100, 100), (0, 0, 0, 0))
    assert len(pixel_base(large)) == 200_000_000 // 30_000 and len(pixel_base(train)) == 50


def test_identical_training_images_divide_by_nothing() -> None:
    same = np.full((20, 3, 8, 8), 9, dtype=np.uint8)
    for images in (same, same + np.uint8(100)):
        found = feature_scores(image_features(same), image_features(images)) | {
            "p": pixel_knn(pixel_index(same), images)
        }
        assert all(np.isfinite(values).all() for values in found.values())
        assert (found["intensity"] == (0 if images is same else 100)).all()


def test_bad_images() -> None:
    with pytest.raises(DataError, match="uint8"):
        image_features(np.zeros((2, 3, 4, 4), dtype=np.float32))  # type: ignore[arg-type]
    with pytest.raises(DataError, match="at least 2"):
        feature_scores(image_features(photos(1)), image_features(photos(3)))
