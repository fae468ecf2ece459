"""Laplacian eigenmaps against scikit-learn and dense algebra; Nystrom; disconnected graphs; what is said of the graph."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.neighbors import kneighbors_graph

from nearkin.errors import ConfigError
from nearkin.methods import FitContext, create
from nearkin.methods.laplacian import SpectralEmbedding, components, knn_graph
from tests.methods.test_contract import make_splits

RNG = np.random.default_rng(0)


def circle(n: int) -> np.ndarray:
    t = 2 * np.pi * np.arange(n) / n
    return np.stack([np.cos(t), np.sin(t)], axis=1).astype(np.float32)


def test_graph_equals_scikit_learns() -> None:
    Z = RNG.normal(size=(200, 5)).astype(np.float32)
    ours, _ = knn_graph(Z, 7, weights="binary")
    theirs = kneighbors_graph(Z, 7).toarray()
    assert np.array_equal(ours.toarray(), np.maximum(theirs, theirs.T))


def test_heat_weights() -> None:
    Z = RNG.normal(size=(60, 3)).astype(np.float32)
    graph, scale = knn_graph(Z, 5)
    i, j = (int(a[0]) for a in graph.nonzero())
    d2 = float(np.square(Z[i] - Z[j]).sum())
    assert graph[i, j] == pytest.approx(np.exp(-d2 / (2 * scale**2)), rel=1e-3)
    assert np.abs((graph - graph.T).toarray()).max() == 0 and graph.diagonal().sum() == 0


@pytest.mark.parametrize("n", [300, 800])  # dense and Lanczos
def test_eigenvectors_solve_the_generalised_problem(n: int) -> None:
    Z = RNG.normal(size=(n, 4)).astype(np.float32)
    found = SpectralEmbedding.fit(Z, 6, k=10)
    graph, _ = knn_graph(Z, 10)
    W = graph.toarray()
    D = W.sum(axis=1)
    assert found.n_components == 1
    for lam, f in zip(found.eigenvalues, found.vectors.T, strict=True):
        assert np.abs(D * f - W @ f - lam * D * f).max() < 1e-3 * np.abs(D * f).max()
    import scipy.linalg

    exact = scipy.linalg.eigh(np.diag(D) - W, np.diag(D), eigvals_only=True)[1:7]
    assert np.allclose(found.eigenvalues, exact, atol=1e-6)
    assert np.allclose(np.square(found.vectors).mean(axis=0), 1)


def test_a_circle_is_recovered() -> None:
    n = 120
    found = SpectralEmbedding.fit(circle(n), 2, k=4, weights="binary")
    angle = np.unwrap(np.arctan2(found.vectors[:, 1], found.vectors[:, 0]))
    steps = np.diff(angle)
    assert np.allclose(np.abs(steps), 2 * np.pi / n, rtol=0.05) and len(set(np.sign(steps).tolist())) == 1


def test_nystrom_at_a_node_is_the_node_where_edges_are_mutual() -> None:
    Z = circle(60)
    found = SpectralEmbedding.fit(Z, 2, k=4, weights="binary")
    from nearkin.search.exact import knn

    near = knn(Z, Z, 4, metric="l2", exclude_self=True)
    mean = found.vectors[near.indices].mean(axis=1) / (1 - found.eigenvalues)
    assert np.allclose(mean, found.vectors, atol=1e-6)


def test_nystrom_is_right_for_every_eigenvalue_also_above_one() -> None:
    """1 - lambda is negative for the last eigenvectors of a small graph; its sign must stay."""
    from nearkin.search.exact import knn

    rng = np.random.default_rng(1)
    Z = circle(60)
    found = SpectralEmbedding.fit(Z, 58, k=4, weights="binary")
    assert found.eigenvalues.max() > 1.3 and np.abs(1 - found.eigenvalues).min() < 0.1
    new = (circle(60) + 0.01 * rng.normal(size=(60, 2))).astype(np.float32)
    near = knn(new, Z, 4, metric="l2")
    usable = np.abs(1 - found.eigenvalues) > 1e-3
    expected = found.vectors[near.indices].mean(axis=1)[:, usable] / (1 - found.eigenvalues[usable])
    assert np.allclose(found.transform(new)[:, usable], expected, atol=1e-6)


def test_an_image_far_from_all_others_does_not_break_the_graph() -> None:
    """exp(-d^2 / 2 s^2) underflows to 0 at 39 times the scale; a node without weight is a component of its own."""
    rng = np.random.default_rng(2)
    for n in (100, 700):  # dense and Lanczos
        Z = rng.normal(size=(n, 4)).astype(np.float32)
        Z[17] = 1000
        found = SpectralEmbedding.fit(Z, 3, k=5)
        assert np.isfinite(found.vectors).all() and np.isfinite(found.transform(Z)).all()


def test_nystrom_puts_new_points_where_they_belong() -> None:
    Z = circle(400)
    found = SpectralEmbedding.fit(Z[::2], 2, k=6)
    between = found.transform(Z[1::2])
    assert np.abs(between - found.vectors).max() < 0.2  # a neighbour 0.03 away on a circle of radius sqrt(2)


def test_disconnected_graph_is_joined_and_told() -> None:
    Z = np.concatenate([RNG.normal(size=(40, 3)) + c for c in (0, 50, 100)]).astype(np.float32)
    graph, _ = knn_graph(Z, 5)
    assert components(graph)[0] == 3
    found = SpectralEmbedding.fit(Z, 3, k=5)
    assert found.n_components == 3
    groups = np.repeat([0, 1, 2], 40)
    means = np.array([found.vectors[groups == g, :2].mean(axis=0) for g in range(3)])
    within = max(found.vectors[groups == g, :2].std(axis=0).max() for g in range(3))
    assert min(np.linalg.norm(means[a] - means[b]) for a in range(3) for b in range(a)) > 5 * within


def test_seeded() -> None:
    Z = RNG.normal(size=(700, 4)).astype(np.float32)
    a, b = SpectralEmbedding.fit(Z, 5), SpectralEmbedding.fit(Z, 5)
    assert np.array_equal(a.vectors, b.vectors)


def test_refusals() -> None:
    Z = RNG.normal(size=(20, 4)).astype(np.float32)
    with pytest.raises(ConfigError, match=r"1\.\.18"):
        SpectralEmbedding.fit(Z, 19)
    with pytest.raises(ConfigError, match="k is 20"):
        SpectralEmbedding.fit(Z, 2, k=20)
    with pytest.raises(ConfigError, match="Did you mean 'heat'"):
        knn_graph(Z, 3, weights="hea")


def test_a_graph_in_pieces_is_told_on_the_terminal_and_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images of the two classes differ by 100 in every value, so three neighbours never lead from one to the other."""
    splits = make_splits()
    method = create("le-pixels", {"dim": 4, "graph_k": 3}, (3, 16, 16))
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False, title="eigenmaps, seed 0"))
    found = json.loads((tmp_path / "graph.json").read_text())
    assert found["n_components"] == 2
    note = "the neighbour graph had 2 components; they were joined by their shortest edges"
    assert found["note"] == note and capsys.readouterr().err == f"note: eigenmaps, seed 0: {note}.\n"
    assert np.isfinite(method.embed(splits.test.images)["eigenmap"]).all()


def test_dimension_and_neighbours_are_cut_to_what_the_images_allow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create("le-pixels", {"dim": 500, "graph_k": 500}, (3, 16, 16)).fit(
        FitContext(make_splits(), tmp_path, device="cpu")
    )
    found = json.loads((tmp_path / "graph.json").read_text())
    assert (found["dim"], found["k"], found["n_components"]) == (46, 47, 1) and not capsys.readouterr().err
