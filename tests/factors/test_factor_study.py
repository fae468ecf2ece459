"""The whole study of factors on the built-in images: pixels see colour, an oracle of shape sees class."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest

from nearkin.data.shapes import shapes
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.factors.factor_study import compared_rows, probed_rows, study_factors
from nearkin.factors.factors import pixel_vectors
from nearkin.fileio import to_json

PART = shapes(n_train=700, n_test=8).train
SPLIT = np.array(["train"] * 300 + ["val"] * 100 + ["test"] * 300)


def made(Z: np.ndarray) -> Embeddings:
    return Embeddings(Z.astype(np.float32), PART.ids, PART.labels, SPLIT, PART.classes)


@pytest.fixture(scope="module")
def oracle() -> Embeddings:
    rng = np.random.default_rng(0)
    assert PART.labels is not None
    return made(np.eye(8)[PART.labels] + 0.1 * rng.normal(size=(700, 8)))


def test_an_oracle_of_the_class(oracle: Embeddings) -> None:
    found = study_factors(oracle, PART.images, PART.factors, k=8)
    assert found.agreement.n == 300 and np.array_equal(found.rows, np.flatnonzero(SPLIT == "test"))
    assert found.dominance.dominant == "class" and found.dominance.gains == "class"
    names = [row.factor for row in found.agreement.rows]
    assert names[0] == "class" and {"background", "background_hue", "x", "border_colour", "object_x"} <= set(names)
    assert found.probe is not None and found.probe.rows[0].linear_accuracy is not None
    assert found.probe.rows[0].linear_accuracy > 0.95
    by = {row.factor: row for row in found.probe.rows}
    assert by["x"].linear is not None and by["x"].linear < 0.1
    json.dumps(to_json(found), allow_nan=False)


def test_pixels_see_colour_and_background() -> None:
    found = study_factors(made(pixel_vectors(PART.images)), PART.images, PART.factors, metric="l2", probe=False)
    assert found.dominance.dominant in ("background", "colour") and found.probe is None
    assert found.raw_pixels is not None
    for mine, theirs in zip(found.agreement.rows, found.raw_pixels.rows, strict=True):
        assert mine.value == theirs.value  # the same vectors
    assert found.dominance.gains is None and all(item.value == 0 for item in found.dominance.differences)


def test_cosine_divides_brightness_out_of_pixels(oracle: Embeddings) -> None:
    by_metric = {}
    for metric in ("l2", "cosine"):
        found = study_factors(oracle, PART.images, probe=False, pixel_metric=metric)
        assert (
            found.raw_pixels is not None
            and found.pixel_metric == metric
            and f"raw pixels ({metric})" in found.dominance.text
        )
        by_metric[metric] = {row.factor: row.value for row in found.raw_pixels.rows}
    assert by_metric["l2"]["brightness"] > by_metric["cosine"]["brightness"] + 0.2  # type: ignore[operator]


def test_a_given_baseline_is_used(oracle: Embeddings) -> None:
    first = study_factors(oracle, PART.images, probe=False)
    assert first.raw_pixels is not None
    again = study_factors(oracle, PART.images, probe=False, raw_pixels=first.raw_pixels)
    assert again.raw_pixels is first.raw_pixels and to_json(again) == to_json(first)
    assert study_factors(oracle, PART.images, probe=False, raw_pixels=False).raw_pixels is None


def test_without_labels(oracle: Embeddings) -> None:
    bare = dataclasses.replace(oracle, labels=None, classes=())
    found = study_factors(bare, PART.images, raw_pixels=False)
    assert "class" not in [row.factor for row in found.agreement.rows] and found.probe is not None
    assert "class" not in found.dominance.leading


def test_rows() -> None:
    assert np.array_equal(compared_rows(SPLIT, "val", max_images=1000, seed=0), np.flatnonzero(SPLIT == "val"))
    few = compared_rows(SPLIT, "all", max_images=50, seed=1)
    assert len(few) == 50 and np.array_equal(few, np.unique(few))
    assert np.array_equal(few, compared_rows(SPLIT, "all", max_images=50, seed=1))
    read = probed_rows(SPLIT, max_train=20)
    assert (SPLIT[read] == "train").sum() == 20 and (SPLIT[read] != "train").sum() == 400


def test_refusals(oracle: Embeddings) -> None:
    with pytest.raises(DataError, match="5 images for 700 vectors"):
        study_factors(oracle, PART.images[:5])
    with pytest.raises(ConfigError, match="the split can be: all, test, train, val"):
        study_factors(oracle, PART.images, split="tset")
    with pytest.raises(ConfigError, match="1 images of split 'test'"):
        study_factors(oracle, PART.images, max_images=1)
    with pytest.raises(ConfigError, match="k is 300"):
        study_factors(oracle, PART.images, k=300)
