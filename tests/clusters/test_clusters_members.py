"""Members of clusters: margins by brute force, composition by counting, centres as means."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA

from nearkin.clusters.clusters import centres, describe, to_centres
from nearkin.fileio import to_json

RNG = np.random.default_rng(0)
Z = RNG.normal(size=(60, 5)).astype(np.float32) + 50
ASSIGNED = RNG.integers(-1, 4, 60)
LABELS = RNG.integers(-1, 3, 60)
IDS = np.array([f"i{k}" for k in range(60)])
CLASSES = ("a", "b", "c")


def brute() -> tuple[np.ndarray, np.ndarray]:
    middle = np.stack([Z[c == ASSIGNED].astype(float).mean(axis=0) for c in range(4)])
    own, margin = np.full(60, np.nan), np.full(60, np.nan)
    for i in range(60):
        if ASSIGNED[i] >= 0:
            d = [float(np.linalg.norm(Z[i] - m)) for m in middle]
            own[i] = d[ASSIGNED[i]]
            b = min(d[c] for c in range(4) if c != ASSIGNED[i])
            margin[i] = (b - own[i]) / max(own[i], b)
    return own, margin


def test_distances_and_margins_by_brute_force() -> None:
    own, margin = to_centres(Z, ASSIGNED)
    assert np.allclose(own, brute()[0], atol=1e-4, equal_nan=True)
    assert np.allclose(margin, brute()[1], atol=1e-4, equal_nan=True)


def test_central_and_borderline() -> None:
    own, margin = brute()
    for item in describe(Z, ASSIGNED, IDS, LABELS, CLASSES, examples=3):
        rows = np.flatnonzero(item.cluster == ASSIGNED)
        assert item.central == tuple(rows[np.argsort(own[rows])[:3]])
        assert item.borderline == tuple(rows[np.argsort(margin[rows])[:3]])
        assert item.central_ids == tuple(IDS[list(item.central)])
        assert item.margin == pytest.approx(margin[rows].mean(), abs=1e-4)
        assert item.size == len(rows) and item.share == pytest.approx(len(rows) / 60)


def test_composition() -> None:
    for item in describe(Z, ASSIGNED, IDS, LABELS, CLASSES):
        here = LABELS[(item.cluster == ASSIGNED) & (LABELS >= 0)]
        counts = {name: int((here == c).sum()) for c, name in enumerate(CLASSES)}
        assert item.composition == {name: n for name, n in counts.items() if n}
        assert item.majority is not None and counts[item.majority] == max(counts.values())
        assert item.majority_share == pytest.approx(max(counts.values()) / len(here))
        json.dumps(to_json(item), allow_nan=False)


def test_without_labels() -> None:
    item = describe(Z, ASSIGNED, IDS, None, ())[0]
    assert item.composition == {} and item.majority is None and item.majority_share is None


def test_one_cluster_and_none() -> None:
    (item,) = describe(Z, np.zeros(60, dtype=np.int64), IDS, None, ())
    assert item.margin is None and item.borderline == () and len(item.central) == 10
    assert describe(Z, np.full(60, -1), IDS, None, ()) == ()


def test_a_row_on_two_centres_is_no_division_by_zero() -> None:
    points = np.array([[-1.0], [1.0], [-2.0], [2.0]], dtype=np.float32)
    own, margin = to_centres(np.zeros_like(points), np.array([0, 0, 1, 1]))
    assert np.array_equal(own, np.zeros(4)) and np.array_equal(margin, np.zeros(4))


def test_centres_on_a_pca_map_are_the_centres_mapped() -> None:
    pca = PCA(2).fit(Z)
    onto = pca.transform(Z).astype(np.float32)
    middle = np.stack([Z[c == ASSIGNED].mean(axis=0) for c in range(4)])
    assert np.allclose(centres(onto, ASSIGNED), pca.transform(middle), atol=1e-3)


def test_a_number_without_rows_has_no_centre() -> None:
    found = centres(Z[:4], np.array([0, 0, 2, -1]))
    assert found.shape == (3, 5) and np.isnan(found[1]).all() and np.isfinite(found[[0, 2]]).all()
