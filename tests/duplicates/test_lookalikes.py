"""Look-alikes far apart: planted ones alike, ranks against brute force, degenerate input."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import pairwise_distances

from nearkin.duplicates.lookalikes import explain, lookalikes_far_apart
from nearkin.errors import ConfigError, DataError


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_twins_that_the_embedding_parts(textures: Callable[..., np.ndarray], metric: str) -> None:
    images = textures(60).copy()
    images[30:40] = np.clip(images[:10].astype(int) + 20, 0, 255)  # brighter twins
    Z = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    Z[35:40] = Z[5:10] + 0.001  # five of them near, five wherever chance puts them
    alike = lookalikes_far_apart(images, Z, metric=metric, chunk=7)
    assert alike.asked == 60 and alike.alike == 20
    apart = pairwise_distances(Z.astype(np.float64), metric="cosine" if metric == "cosine" else "euclidean")
    for a, b, rank, percentile in zip(alike.a, alike.b, alike.rank, alike.percentile, strict=True):
        assert abs(int(a) - int(b)) == 30
        others = np.delete(apart[a], a)
        assert rank == 1 + (others < apart[a, b] - 1e-6).sum() and percentile == pytest.approx((rank - 1) / 58)
    assert (np.diff(alike.percentile) <= 0).all() and alike.percentile[-10:].max() == 0
    assert alike.correlation.min() > 0.9
    assert alike.beyond_half == pytest.approx((alike.percentile > 0.5).mean())
    json.dumps(alike.to_dict(), allow_nan=False)


def test_the_list_is_explained(textures: Callable[..., np.ndarray]) -> None:
    images = np.concatenate([textures(30), textures(30)])  # copies
    Z = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    alike = lookalikes_far_apart(images, Z, count=10)
    text = explain(alike, np.arange(60) % 2)
    assert text.startswith("60 of 60 images") and "10 agree in fine detail" in text and "two classes" not in text
    coarse = replace(alike, detail=np.full(10, 0.3, dtype=np.float32))
    labels = np.where(np.arange(60) < 30, 0, 1)  # every pair is of both halves
    assert "10 of these 10 are of two classes" in explain(coarse, labels) and "0 agree in fine" in explain(coarse, None)
    assert "None of 5" in explain(lookalikes_far_apart(np.full((5, 3, 32, 32), 7, np.uint8), Z[:5]), None)


def test_few_queries_and_a_short_list(textures: Callable[..., np.ndarray]) -> None:
    images = np.concatenate([textures(20), textures(20)])
    alike = lookalikes_far_apart(images, np.eye(40, dtype=np.float32), queries=10, count=3)
    assert alike.asked == 10 and alike.alike == 10 and len(alike.a) == 3


def test_degenerate_input(textures: Callable[..., np.ndarray]) -> None:
    flat = np.full((5, 3, 32, 32), 7, dtype=np.uint8)
    alike = lookalikes_far_apart(flat, np.ones((5, 3), dtype=np.float32))
    assert alike.alike == 0 and alike.beyond_half is None
    assert lookalikes_far_apart(flat[:1], np.ones((1, 3), dtype=np.float32)).asked == 0
    same = lookalikes_far_apart(np.repeat(textures(1), 4, axis=0), np.ones((4, 3), dtype=np.float32))
    assert same.alike == 4 and (same.rank == 1).all()
    with pytest.raises(DataError, match="5 images for 4 vectors"):
        lookalikes_far_apart(flat, np.ones((4, 3), dtype=np.float32))
    with pytest.raises(ConfigError, match="alike is 2"):
        lookalikes_far_apart(flat, np.ones((5, 3), dtype=np.float32), alike=2)
