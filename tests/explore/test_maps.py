"""Maps: those of a study, PCA at once, t-SNE of at most so many."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.explore import maps
from nearkin.explore.sources import Space, find_spaces


def space(Z: np.ndarray) -> Space:
    n = len(Z)
    made = Embeddings(Z.astype(np.float32), np.arange(n).astype(np.str_), None, np.full(n, "train"))
    return Space("s", "S", made, Path("s.parquet"))


def blobs(n: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.normal(size=(n, 6)) + 20 * (np.arange(n) % 2)[:, None]


def test_fitted_keeps_the_shape_and_marks_what_is_missing() -> None:
    out = maps.fitted(np.array([[0, 0], [10, 5], [np.nan, 1]], dtype=np.float32))
    np.testing.assert_allclose(out[:2], [[-0.95, -0.475], [0.95, 0.475]], rtol=1e-6)
    assert np.isnan(out[2]).all()
    assert np.isfinite(maps.fitted(np.ones((3, 2), dtype=np.float32))).all()


def test_a_studys_map_covers_its_test_images(root: Path) -> None:
    one = find_spaces([root / "study"])[0]
    found = maps.stored_maps(one)
    assert list(found) == ["tsne"] and "trustworthiness 0.90" in found["tsne"].note
    on_map = np.isfinite(found["tsne"].coords).all(axis=1)
    assert (on_map == (one.embeddings.split == "test")).all() and "20 of 80 images" in found["tsne"].note


@pytest.mark.parametrize("judged", [10, 4000])
def test_pca_separates_groups(judged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "_JUDGED", judged)
    found = maps.pca_map(space(blobs(60)))
    sides = np.sign(found.coords[:, 0])
    assert abs(sides[::2].mean()) == 1 and (sides[::2] == -sides[1::2]).all() and "% of the variance" in found.note


@pytest.mark.parametrize("judged", [10, 4000])
def test_a_collapsed_embedding_says_so(judged: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "_JUDGED", judged)
    found = maps.pca_map(space(np.ones((60, 4))))
    assert found.note == "no map: all vectors are the same" and np.isfinite(found.coords).all()


def test_tsne_takes_a_part_and_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(maps, "MOST_TSNE", 40)
    said: list[str] = []
    found = maps.tsne_map(space(blobs(60)), seed=0, say=said.append)
    assert np.isfinite(found.coords).all(axis=1).sum() == 40 and found.note.startswith("40 of 60 images")
    assert "takes a while" in said[0]
