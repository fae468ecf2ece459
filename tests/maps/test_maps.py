"""Maps: judged like scikit-learn does, planted clusters kept apart."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.manifold import trustworthiness as sklearn_trustworthiness

from nearkin.maps.maps import K, draw_maps, draw_of_part, preservation, trustworthiness
from nearkin.maps.tsne import tsne_and_rest
from nearkin.search.exact import knn

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("offset", [0, 1000])
def test_trustworthiness_against_scikit_learn(offset: float) -> None:
    Z, flat = RNG.normal(size=(300, 10)).astype(np.float32), RNG.normal(size=(300, 2)).astype(np.float32)
    flat[:, 0] = Z[:, 0]
    Z += offset
    maps = [flat, Z[:, 2:4]]
    near = [knn(xy, xy, k, metric="l2", exclude_self=True) for xy, k in zip(maps, (K, 7), strict=True)]
    wanted = [
        sklearn_trustworthiness(Z.astype(np.float64), xy, n_neighbors=k) for xy, k in zip(maps, (K, 7), strict=True)
    ]
    assert trustworthiness(Z, *near, chunk=64) == pytest.approx(wanted, abs=1e-4)


def test_preservation() -> None:
    Z = RNG.normal(size=(100, 4)).astype(np.float32)
    near = knn(Z, Z, 5, exclude_self=True)
    assert preservation(near, near) == 1
    other = knn(Z[:, :2].copy(), Z[:, :2].copy(), 5, exclude_self=True)
    shared = [len(set(a) & set(b)) for a, b in zip(near.indices.tolist(), other.indices.tolist(), strict=True)]
    assert 0 < np.mean(shared) < 5 and preservation(near, other) == pytest.approx(np.mean(shared) / 5)


def test_pca_equals_scikit_learn_up_to_sign() -> None:
    Z = (RNG.normal(size=(200, 6)) * [5, 3, 1, 1, 1, 1]).astype(np.float32)
    found = draw_maps(Z, None)["pca"]
    theirs = PCA(2).fit_transform(Z)
    assert np.abs(np.abs(found.coords) - np.abs(theirs)).max() < 1e-2
    assert found.explained == pytest.approx(PCA(2).fit(Z).explained_variance_ratio_, abs=1e-4)
    assert found.purity is None


def test_tsne_keeps_planted_clusters_apart_and_is_seeded() -> None:
    y = np.repeat(np.arange(4), 40)
    Z = (8 * np.eye(4)[y] + RNG.normal(size=(160, 4))).astype(np.float32)
    a, b = draw_maps(Z, y, seed=1)["tsne"], draw_maps(Z, y, seed=1)["tsne"]
    assert a.purity is not None and a.purity > 0.95 and np.array_equal(a.coords, b.coords)
    assert a.trustworthiness is not None and a.trustworthiness > 0.9


def test_the_rest_is_placed_where_it_belongs_and_moves_nothing() -> None:
    y = RNG.permutation(np.repeat(np.arange(4), 60))
    Z = (8 * np.eye(4, 60)[y] + RNG.normal(size=(240, 60)) / 4).astype(np.float32)  # more than t-SNE's 50 components
    rows = np.sort(RNG.permutation(240)[:160])
    found = draw_of_part(Z, y, rows, kind="tsne", seed=1)
    alone = draw_maps(Z[rows], y[rows], seed=1, kinds=("tsne",))["tsne"]
    assert np.array_equal(found.coords[rows], alone.coords)
    assert (found.trustworthiness, found.purity) == (alone.trustworthiness, alone.purity)
    others = np.setdiff1d(np.arange(240), rows)
    nearest = np.linalg.norm(found.coords[others, None] - found.coords[rows][None], axis=2).argmin(axis=1)
    assert (y[rows][nearest] == y[others]).all()
    assert np.array_equal(draw_of_part(Z, y, rows, kind="tsne", seed=1).coords, found.coords)


def test_points_of_the_map_are_placed_where_they_are() -> None:
    Z = RNG.normal(size=(300, 5)).astype(np.float32)
    coords, again = tsne_and_rest(Z, Z, seed=0, perplexity=10.0)
    away, wide = np.linalg.norm(coords - again, axis=1), float(np.ptp(coords))
    assert np.median(away) < 0.02 * wide
    assert tsne_and_rest(Z, Z[:0], seed=0, perplexity=10.0)[1].shape == (0, 2)


def test_pca_of_all_is_judged_by_the_rows_asked_for() -> None:
    Z, rows = RNG.normal(size=(90, 5)).astype(np.float32), np.arange(0, 90, 2)
    found = draw_of_part(Z, None, rows, kind="pca")
    assert np.array_equal(found.coords, draw_maps(Z, None, kinds=("pca",))["pca"].coords)
    assert found.trustworthiness is not None and found.explained is not None
    assert draw_of_part(np.ones((9, 3), dtype=np.float32), None, np.arange(8), kind="tsne").skipped


@pytest.mark.parametrize("Z", [np.ones((50, 4)), np.ones((3, 4)), np.arange(50.0)[:, None]])
def test_no_map_says_why(Z: np.ndarray) -> None:
    for item in draw_maps(Z.astype(np.float32), None).values():
        assert item.skipped and item.trustworthiness is None
