"""Stability of maps: same maps overlap fully, unrelated ones by chance, planted mixing is found again."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.entanglement import mixing_matrix
from nearkin.fileio import to_json
from nearkin.maps.stability import compare_maps, map_stability
from nearkin.search.exact import knn

RNG = np.random.default_rng(0)
N = 240
Y = np.repeat(np.arange(4), N // 4)
# Classes 0 and 1 overlap, 2 and 3 a little, the pairs lie apart.
PLACES = np.array([[0.0, 0, 0], [1, 0, 0], [9, 0, 0], [9, 3, 0]])
Z = (PLACES[Y] + RNG.normal(size=(N, 3)) * [1, 1, 0.01]).astype(np.float32)
RANDOM = [RNG.normal(size=(N, 2)).astype(np.float32) for _ in range(3)]


def test_equal_maps() -> None:
    found = compare_maps(Z, [Z[:, :2], Z[:, :2]], Y, k=10)
    assert found.overlap == 1 and found.lowest_overlap == 1 and found.preservation > 0.95
    assert found.mixing_correlation is not None and found.mixing_correlation > 0.99


def test_unrelated_maps_overlap_by_chance() -> None:
    found = compare_maps(Z, RANDOM, Y, k=10)
    assert found.overlap == pytest.approx(10 / (N - 1), abs=0.01)
    assert found.preservation == pytest.approx(10 / (N - 1), abs=0.01)
    assert found.purity == pytest.approx(0.25, abs=0.05)
    assert found.mixing_correlation is not None and abs(found.mixing_correlation) < 0.6


def test_overlap_by_brute_force() -> None:
    maps = [Z[:, :2], *RANDOM[:2]]
    lists = [[set(row) for row in knn(m, m, 5, metric="l2", exclude_self=True).indices.tolist()] for m in maps]
    by_pair = [
        np.mean([len(p & q) / 5 for p, q in zip(lists[a], lists[b], strict=True)]) for a, b in ((0, 1), (0, 2), (1, 2))
    ]
    found = compare_maps(Z, maps, None, k=5)
    assert found.overlap == pytest.approx(np.mean(by_pair)) and found.lowest_overlap == pytest.approx(min(by_pair))
    assert found.mixing_correlation is None and found.purity is None


def test_mixing_correlation_by_hand() -> None:
    maps = [RANDOM[0], Z[:, :2]]
    off = ~np.eye(4, dtype=bool)

    def matrix(points: np.ndarray) -> np.ndarray:
        return mixing_matrix(knn(points, points, 7, metric="l2", exclude_self=True), Y, 4)

    expected = np.mean([np.corrcoef(matrix(Z)[off], matrix(m)[off])[0, 1] for m in maps])
    assert compare_maps(Z, maps, Y, k=7).mixing_correlation == pytest.approx(expected)


def test_mixing_matrix_by_counting() -> None:
    near = knn(Z, Z, 6, exclude_self=True)
    found = mixing_matrix(near, Y, 5)
    for a in range(4):
        for b in range(4):
            assert found[a, b] == pytest.approx((Y[near.indices[a == Y]] == b).mean())
    assert not found[4].any() and not found[:, 4].any()


def test_separate_classes_and_unknown_labels() -> None:
    far = (100 * np.eye(4, 3)[Y] + RNG.normal(size=(N, 3))).astype(np.float32)
    found = compare_maps(far, [far[:, :2]] * 2, Y, k=5)
    assert found.mixing_correlation is None  # nothing mixes in the embedding
    assert compare_maps(Z, RANDOM, np.full(N, -1), k=5).purity is None
    assert compare_maps(Z, RANDOM, np.where(np.arange(N) < 3, Y, -1), k=5).mixing_correlation is None


def test_tsne_maps() -> None:
    found = map_stability(Z, Y, seeds=(0, 1), k=10, max_images=160, n_jobs=1)
    assert found.n == 160 and found.chance == pytest.approx(10 / 159)
    assert [item.start for item in found.starts] == ["pca", "random"]
    for item in found.starts:
        assert 0.3 < item.overlap <= 1 and item.preservation > 0.4
        assert item.mixing_correlation is not None and item.mixing_correlation > 0.8
    said = json.loads(json.dumps(to_json(found), allow_nan=False))
    assert said["seeds"] == [0, 1] and said["starts"][0]["overlap"] == found.starts[0].overlap


def test_refusals() -> None:
    with pytest.raises(ConfigError, match="at least 2 different seeds"):
        map_stability(Z, Y, seeds=(3, 3))
    with pytest.raises(ConfigError, match="legal: pca, random"):
        map_stability(Z, Y, starts=("umap",))
    with pytest.raises(DataError, match="at least 8 images"):
        map_stability(Z[:5], None)
    with pytest.raises(DataError, match="are the same"):
        map_stability(np.ones((50, 3), dtype=np.float32), None)
    broken = Z.copy()
    broken[1] = np.nan
    with pytest.raises(DataError, match="not finite"):
        map_stability(broken, None)
    with pytest.raises(ConfigError, match="k is 20"):
        map_stability(Z[:12], None, seeds=(0, 1), k=20)
