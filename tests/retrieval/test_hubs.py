"""Hubs: counts by hand, planted hubs found and remedied, none where there are none."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json
from nearkin.retrieval.hub_remedies import REMEDIES
from nearkin.retrieval.hubs import distance_from_mean, hubs, occurrence, summarise


def made_of(Z: np.ndarray, y: np.ndarray | None = None, classes: tuple[str, ...] = ()) -> Embeddings:
    return Embeddings(Z.astype(np.float32), np.arange(len(Z)).astype(str), y, np.full(len(Z), "train"), classes)


def gaussian(n: int = 1500, d: int = 100, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, d))


def test_counts_and_summary_by_hand() -> None:
    lists = np.array([[1, 2], [0, 2], [1, 0], [2, 1], [2, 0]])
    counts = occurrence(lists, 5)
    assert counts.tolist() == [3, 3, 4, 0, 0]
    found = summarise(counts, 2)
    assert found.skewness == pytest.approx(float(stats.skew(counts)))
    assert (found.hubs, found.antihubs, found.distinct, found.largest) == (0, 0.4, 3, 4)
    assert found.top_slots == 0.4  # one image is more than 1 % of five
    steps = summarise(np.array([0, 0, 5, 5, 10, 11, 20, 21, 50, 51]), 10).distribution
    assert steps == pytest.approx((0.2, 0.2, 0.1, 0.2, 0.2, 0.1))
    hub = summarise(np.array([9, 1, 0, 0, 0]), 2)
    assert hub.hubs == 1 and hub.hub_slots == 0.9
    assert summarise(np.full(7, 3), 3).skewness == 0


def test_nearest_and_farthest_occurrence_against_brute_force() -> None:
    Z = gaussian(200, 30)
    D = np.sqrt(np.square(Z[:, None] - Z[None]).sum(axis=2))
    near, far = D + np.diag(np.full(200, np.inf)), D - np.diag(np.full(200, np.inf))
    expected_near = np.bincount(np.argsort(near, axis=1)[:, :10].ravel(), minlength=200)
    expected_far = np.bincount(np.argsort(-far, axis=1)[:, :10].ravel(), minlength=200)
    found = hubs(made_of(Z), metric="l2")
    assert np.array_equal(found.k_occurrence, expected_near) and np.array_equal(found.farthest_occurrence, expected_far)
    out = np.linalg.norm(Z - Z.mean(axis=0), axis=1)
    for name, counts in (("nearest/mean", expected_near), ("farthest/mean", expected_far)):
        assert found.correlations[name] == pytest.approx(stats.spearmanr(counts, out).statistic, abs=1e-3)
        percentile = (out[:, None] > out).mean(axis=1) + 0.5 / 200
        assert found.percentiles[name] == pytest.approx((percentile * counts).sum() / 2000, abs=1e-3)
    assert found.candidates == 199
    assert found.farthest_images[0].count == expected_far.max() and found.hubs[0].count == expected_near.max()


def test_high_dimensional_gaussian_has_hubs_and_every_remedy_helps() -> None:
    found = hubs(made_of(gaussian()), metric="l2")
    assert found.nearest.skewness > 1.4 and found.nearest.antihubs > 0.05
    for remedy in REMEDIES:
        after = found.remedies[remedy].nearest
        assert after.skewness < 0.6 * found.nearest.skewness, remedy
        assert after.antihubs < 0.5 * found.nearest.antihubs, remedy
    assert found.remedies["none"].nearest == found.nearest and found.remedies["none"].precision is None
    # Hubs are near the mean, the farthest are far from it, and they are the same few for every query.
    assert (found.correlations["nearest/mean"] or 0) < -0.5 and (found.correlations["farthest/mean"] or 0) > 0.5
    assert found.percentiles["farthest/mean"] > 0.85 and found.percentiles["nearest/mean"] < 0.35
    assert found.farthest.top_slots > 0.15 and found.farthest.distinct < 800
    assert np.mean([item.percentile for item in found.hubs]) < 0.1
    assert np.mean([item.percentile for item in found.farthest_images]) > 0.9


def test_low_dimensional_uniform_has_no_hubs() -> None:
    Z = np.random.default_rng(0).uniform(size=(1500, 2))
    found = hubs(made_of(Z), metric="l2")
    assert abs(found.nearest.skewness) < 0.5 and found.nearest.antihubs < 0.01 and found.nearest.top_slots < 0.03


def test_precision_rises_where_hubs_hide_classes() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(1200) % 4
    Z = 3.5 * np.eye(4, 200)[y] + rng.normal(size=(1200, 200))
    found = hubs(made_of(Z, y, ("a", "b", "c", "d")), metric="l2")
    before = found.remedies["none"].precision
    assert before is not None
    for remedy in REMEDIES:
        after = found.remedies[remedy].precision
        assert after is not None and after.overall.precision > before.overall.precision + 0.02, remedy


def test_composition_by_class() -> None:
    rng = np.random.default_rng(0)
    y = np.repeat([0, 1], [900, 100])
    Z = rng.normal(size=(1000, 50)) * np.where(y == 1, 3.0, 1.0)[:, None]  # the second class lies far out
    labels = y.copy()
    labels[:5] = -1
    found = hubs(made_of(Z, labels, ("inner", "outer")), metric="l2")
    assert found.composition["all"]["outer"] == pytest.approx(100 / 995)
    assert found.composition["farthest"]["outer"] > 0.99 and found.composition["hubs"]["outer"] < 0.01
    assert found.composition["anti-hubs"]["outer"] > 0.1
    assert {item.label for item in found.farthest_images} == {"outer"}


def test_pixels_join_the_correlations() -> None:
    Z = gaussian(300, 40)
    pixels = np.clip(128 + 20 * Z[:, :27], 0, 255).astype(np.uint8).reshape(300, 3, 3, 3)
    found = hubs(made_of(Z), metric="l2", pixels=pixels)
    assert set(found.correlations) == {"nearest/mean", "farthest/mean", "nearest/pixel mean", "farthest/pixel mean"}
    out = np.linalg.norm(pixels.reshape(300, -1) - pixels.reshape(300, -1).mean(axis=0), axis=1)
    assert np.allclose(distance_from_mean(pixels, chunk=64), out)
    expected = stats.spearmanr(found.farthest_occurrence, out).statistic
    assert found.correlations["farthest/pixel mean"] == pytest.approx(expected)
    assert found.farthest_images[0].pixel_percentile is not None
    with pytest.raises(DataError, match="pixels of 9 images for 300"):
        hubs(made_of(Z), pixels=pixels[:9])


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_odd_vectors_are_no_crash(metric: str) -> None:
    same = hubs(made_of(np.ones((30, 4)), np.arange(30) % 2, ("a", "b")), metric=metric)
    assert same.note and "identical" in same.note and same.correlations["nearest/mean"] is None
    json.dumps(to_json(same), allow_nan=False)
    zeros = hubs(made_of(np.eye(30, 4)), metric=metric)
    json.dumps(to_json(zeros), allow_nan=False)
    two = hubs(made_of(np.eye(2)), n_neighbors=1, metric=metric)
    assert two.nearest.skewness == 0 and two.k_occurrence.tolist() == [1, 1]


def test_seeded() -> None:
    made = made_of(gaussian(1300, 20))
    a, b = to_json(hubs(made, random_state=1)), to_json(hubs(made, random_state=1))
    assert a == b


def test_errors() -> None:
    made = made_of(gaussian(20, 5))
    with pytest.raises(ConfigError, match="between 1 and 19"):
        hubs(made, n_neighbors=20)
    with pytest.raises(ConfigError, match="at least k = 10"):
        hubs(made, candidates=5)
    with pytest.raises(DataError, match="too few"):
        hubs(made_of(np.ones((1, 3))), n_neighbors=1)
    with pytest.raises(DataError, match="not finite"):
        hubs(made_of(np.full((20, 3), np.nan)))
