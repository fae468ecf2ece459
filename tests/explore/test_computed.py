"""What is computed of a space: maps, the search of one row against that of all and a plain one, and scores."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.explore import computed
from nearkin.explore.computed import Finder, all_neighbours, compute_score
from nearkin.explore.spaces import Space, find_spaces


def space(Z: np.ndarray) -> Space:
    n = len(Z)
    made = Embeddings(Z.astype(np.float32), np.arange(n).astype(np.str_), None, np.full(n, "train"))
    return Space("s", "S", made, Path("s.parquet"))


def blobs(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)) + 20 * (np.arange(n) % 2)[:, None]


def test_fitted_keeps_the_shape_and_marks_what_is_missing() -> None:
    out = computed.fitted(np.array([[0, 0], [10, 5], [np.nan, 1]], dtype=np.float32))
    np.testing.assert_allclose(out[:2], [[-0.95, -0.475], [0.95, 0.475]], rtol=1e-6)
    assert np.isnan(out[2]).all()
    assert np.isfinite(computed.fitted(np.ones((3, 2), dtype=np.float32))).all()


def test_a_studys_map_covers_its_test_images(root: Path) -> None:
    one = find_spaces([root / "study"])[0]
    found = computed.stored_maps(one)
    assert list(found) == ["tsne"] and "trustworthiness 0.90" in found["tsne"].note
    on_map = np.isfinite(found["tsne"].coords).all(axis=1)
    assert (on_map == (one.embeddings.split == "test")).all() and "20 of 80 images" in found["tsne"].note


@pytest.mark.parametrize("judged", [10, 4000])
def test_pca_separates_groups(judged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computed, "_JUDGED", judged)
    found = computed.pca_map(space(blobs(60)))
    sides = np.sign(found.coords[:, 0])
    assert abs(sides[::2].mean()) == 1 and (sides[::2] == -sides[1::2]).all() and "% of the variance" in found.note


@pytest.mark.parametrize("judged", [10, 4000])
def test_a_collapsed_embedding_says_so(judged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computed, "_JUDGED", judged)
    found = computed.pca_map(space(np.ones((60, 4))))
    assert found.note == "no map: all vectors are the same" and np.isfinite(found.coords).all()


def test_tsne_takes_a_part_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(computed, "MOST_TSNE", 40)
    said: list[str] = []
    found = computed.tsne_map(space(blobs(60)), seed=0, say=said.append)
    assert np.isfinite(found.coords).all(axis=1).sum() == 40 and found.note.startswith("40 of 60 images")
    assert "takes a while" in said[0]


def test_rows_agree_with_dense_cosines_and_with_all_at_once() -> None:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(5000, 7)).astype(np.float32)  # more than one chunk
    unit = Z.astype(np.float64) / np.linalg.norm(Z, axis=1, keepdims=True)
    near, far = all_neighbours(Z[:300], 5, 3)
    small = Finder(Z[:300])
    for row in (0, 17, 299):
        found = small.of_row(row, 5, 3)
        assert found.near.tolist() == near.indices[row].tolist() and found.far.tolist() == far.indices[row].tolist()
    found = Finder(Z).of_row(4321, 6, 4)
    distance = 1 - unit @ unit[4321]
    order = np.argsort(distance)
    assert found.near.tolist() == order[1:7].tolist() and found.far.tolist() == order[::-1][:4].tolist()
    np.testing.assert_allclose(found.near_distance, distance[found.near], atol=1e-6)


def test_a_row_drops_itself_but_not_its_duplicate() -> None:
    Z = np.array([[1, 0], [1, 0], [0, 1]], dtype=np.float32)
    found = Finder(Z).of_row(1, 9, 9)
    assert found.near.tolist() == [0, 2] and found.near_distance[0] == 0


def test_nearly_collapsed_vectors_are_still_told_apart() -> None:
    steps = np.arange(50, dtype=np.float32)[:, None] * 1e-4
    Z = np.concatenate([np.ones((50, 1), dtype=np.float32), steps], axis=1)
    assert Finder(Z).of_row(25, 2, 1).near.tolist() in ([24, 26], [26, 24])


def test_a_new_vector_finds_its_own_row_and_a_wrong_one_is_refused() -> None:
    Z = np.eye(4, dtype=np.float32)
    assert Finder(Z).of_vector(Z[2] * 3, 1, 0).near.tolist() == [2]
    for z in (np.ones(3), np.full(4, np.nan)):
        with pytest.raises(DataError, match="cannot be compared"):
            Finder(Z).of_vector(z.astype(np.float32), 1, 1)


def test_planted_outlier_hub_and_groups() -> None:
    Z = blobs(60)
    Z[7] += 100
    anomaly = compute_score("anomaly", space(Z), print)
    assert int(anomaly.values.argmax()) == 7
    hubs = compute_score("hubness", space(Z), print)
    assert hubs.values.sum() == 600
    clusters = compute_score("cluster", space(blobs(60)), print)
    assert set(clusters.values[::2]).isdisjoint(set(clusters.values[1::2])) and clusters.groups[0] == "cluster 0"


def test_a_collapsed_embedding_has_no_clusters() -> None:
    with pytest.raises(DataError, match="the same"):
        compute_score("cluster", space(np.ones((20, 3))), print)
    with pytest.raises(DataError, match="too few"):
        compute_score("hubness", space(np.ones((2, 3))), print)
