"""Laplacian eigenmaps on features: scikit-learn's own checks, and its own spectral embedding as a reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from nearkin import LaplacianEigenmaps
from nearkin.errors import ConfigError, DataError

# None is expected to fail; a check that comes to fail goes here with its reason.
EXPECTED: dict[str, str] = {}


@pytest.mark.filterwarnings("ignore")
@parametrize_with_checks(
    [LaplacianEigenmaps(), LaplacianEigenmaps(dim=2, graph_k=5, random_state=0)],
    expected_failed_checks=lambda estimator: EXPECTED,
)
def test_scikit_learns_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def ring(n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(0, 2 * np.pi, n, endpoint=False)
    rng = np.random.default_rng(0)
    return np.c_[np.cos(angle), np.sin(angle), 0.01 * rng.normal(size=(n, 3))], angle


def test_a_ring_is_recovered() -> None:
    X, angle = ring()
    Z = LaplacianEigenmaps(dim=2, graph_k=6).fit_transform(X)
    found = np.unwrap(np.arctan2(Z[:, 1], Z[:, 0]))
    assert abs(np.corrcoef(found, angle)[0, 1]) > 0.999


def test_the_graphs_vectors_are_scikit_learns() -> None:
    """Up to sign, from the same weights: SpectralEmbedding of scikit-learn solves the same problem."""
    from sklearn.manifold import spectral_embedding

    from nearkin.methods.laplacian import knn_graph

    X = np.random.default_rng(0).normal(size=(80, 4)).astype(np.float32)
    made = LaplacianEigenmaps(dim=3, graph_k=8).fit(X)
    theirs = spectral_embedding(
        knn_graph(X, 8)[0].toarray(), n_components=3, drop_first=True, eigen_solver="arpack", random_state=0
    )
    for k in range(3):
        assert abs(np.corrcoef(made.embedding_.vectors[:, k], theirs[:, k])[0, 1]) > 0.999


def test_images_and_features_do_not_mix() -> None:
    images = np.random.default_rng(0).integers(0, 256, (20, 3, 8, 8), dtype=np.uint8)
    features = np.random.default_rng(0).normal(size=(20, 5))
    with pytest.raises(DataError, match="fitted on features"):
        LaplacianEigenmaps().fit(features).transform(images)
    both = LaplacianEigenmaps(dim=3).fit(features)
    assert both.fit(images).transform(images).shape == (20, 3)
    with pytest.raises(ConfigError, match="must be 'pixels'"):
        LaplacianEigenmaps(features_from="random").fit(features)
