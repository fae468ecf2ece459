"""The whole search: planted duplicates of every kind recovered, none in random sets, degenerate sets, brute force."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import squareform

import nearkin
from nearkin.duplicates.find import components, duplicate_free_rows, duplicate_sets, link, near_duplicates
from nearkin.duplicates.planted import KINDS, plant
from nearkin.duplicates.registration import align
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError

Textures = Callable[..., NDArray[np.uint8]]


def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A small fixed embedding that hardly feels crops, flips and brightness: block means, folded, standardised."""
    x = images.mean(axis=1).reshape(len(images), 4, images.shape[2] // 4, 4, images.shape[3] // 4).mean(axis=(2, 4))
    x = (x + x[..., ::-1]).reshape(len(x), -1)
    x = x - x.mean(axis=1, keepdims=True)
    return np.asarray(x / np.maximum(x.std(axis=1, keepdims=True), 1e-3), dtype=np.float32)


@pytest.fixture(scope="module")
def world(textures: Textures) -> dict[str, NDArray[np.generic]]:
    """500 images; 70 copies of some of them (ten of every kind) among 400 others."""
    base, others = textures(500), textures(400, seed=1)
    planted = plant(base, 5, count=70)
    return {
        "base": base,
        "asked": np.concatenate([others, planted.images]),
        "kind": planted.kind,
        "source": planted.source_row,
    }


def test_planted_duplicates_of_every_kind_are_found_across_sets(world: dict[str, NDArray[np.generic]]) -> None:
    asked, base = world["asked"], world["base"]
    # Vectors of the sources with noise: every source is among the nearest, so that the pixels decide.
    Z = np.concatenate([embed(asked[:400]), embed(base[world["source"].astype(int)])])
    Z += np.random.default_rng(0).normal(0, 0.2, Z.shape).astype(np.float32)
    duplicates = near_duplicates(Z, asked, base=embed(base), base_images=base, n_neighbors=5)
    right = {(400 + i, int(s)) for i, s in enumerate(world["source"])}
    got = {(int(a), int(b)) for a, b in zip(duplicates.pairs.a, duplicates.pairs.b, strict=True)}
    assert len(got - right) <= 2
    for kind in KINDS:
        mine = {(400 + i, int(s)) for i, s in enumerate(world["source"]) if world["kind"][i] == kind}
        assert len(mine & got) >= 8, kind
    assert duplicates.verified and not duplicates.within and duplicates.calibration is not None
    assert (np.diff(duplicates.pairs.score) <= 0).all() and duplicates.share == pytest.approx(
        len(duplicates.rows) / 470
    )
    report = duplicates.to_dict()
    assert set(report["calibration"]["evaluation"]["recall_by_kind"]) == set(KINDS)
    json.dumps(report, allow_nan=False)
    keep = duplicate_free_rows(470, across=duplicates)
    assert len(keep) == 470 - len(duplicates.rows) and not np.isin(keep, duplicates.rows).any()


def test_vectors_of_the_copies_bring_the_distance_into_the_score(world: dict[str, NDArray[np.generic]]) -> None:
    asked, base = world["asked"], world["base"]
    duplicates = near_duplicates(embed(asked), asked, base=embed(base), base_images=base, embed=embed)
    assert duplicates.calibration is not None and list(duplicates.calibration.features)[-1] == "relative_distance"
    assert duplicates.calibration.features["relative_distance"] < 0 and duplicates.calibration.copies_not_proposed < 0.3
    assert len(np.intersect1d(duplicates.rows, np.arange(400, 470))) >= 50


def test_within_one_set_each_pair_once(textures: Textures) -> None:
    images = textures(300)
    planted = plant(images, 3, kinds=("flip", "jpeg"), count=20)
    whole = np.concatenate([images, planted.images])
    duplicates = near_duplicates(embed(whole), whole)
    assert duplicates.within and (duplicates.pairs.a < duplicates.pairs.b).all()
    got = set(zip(duplicates.pairs.a.tolist(), duplicates.pairs.b.tolist(), strict=True))
    assert (
        len(got) == len(duplicates.pairs)
        and len(got & {(int(s), 300 + i) for i, s in enumerate(planted.source_row)}) >= 18
    )
    keep = duplicate_free_rows(320, within=duplicates)
    assert len(keep) == 320 - len(got) and set(range(300)) <= set(keep.tolist()) | set(planted.source_row.tolist())


def test_random_images_give_none(textures: Textures) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 3, 32, 32)).astype(np.uint8)
    for images in (textures(300), noise):
        for Z in (embed(images), rng.normal(size=(300, 8)).astype(np.float32)):
            duplicates = near_duplicates(Z, images, n_copies=350)
            assert len(duplicates.pairs) == 0 and duplicates.share == 0 and duplicates.to_dict()["pairs"] == 0


def test_embeddings_and_images_of_any_layout_are_taken_and_rows_fit_together(textures: Textures) -> None:
    images = textures(52).copy()
    images[50:] = images[:2]
    made = near_duplicates(Embeddings.from_numpy(embed(images)), images, n_copies=140)
    again = nearkin.near_duplicates(embed(images).astype(np.float64), images.transpose(0, 2, 3, 1), n_copies=140)
    assert made.pairs.rows.tolist() == again.pairs.rows.tolist() == [[0, 50], [1, 51]]
    assert [rows.tolist() for rows in made.sets] == [[0, 50], [1, 51]] and made.rows.tolist() == [0, 1, 50, 51]
    assert made.precision is not None and 0 < made.precision <= 1
    assert near_duplicates(embed(images), images, threshold=0.9, n_copies=140).precision is None
    gray = near_duplicates(embed(images), images[:, 0], n_copies=140)
    assert gray.pairs.exact.all() and len(gray.pairs) == 2
    across = near_duplicates(embed(images), images, base=embed(images), base_images=images, n_copies=140)
    assert across.share == 1 and across.sets == []


def test_equals_brute_force_over_all_pairs(textures: Textures) -> None:
    """With k = N - 1 every pair is a candidate: the result is that of scoring all pairs."""
    images = np.concatenate([textures(25), plant(textures(25), 0, count=7).images])
    Z = embed(images)
    duplicates = near_duplicates(Z, images, n_neighbors=31)
    assert duplicates.n_candidates == 32 * 31 // 2 and duplicates.calibration is not None
    rows = np.stack(np.triu_indices(32, 1), axis=1)
    aligned = align(images, images, rows)
    features = np.stack([aligned.correlation, aligned.detail, aligned.local, aligned.extent], axis=1)
    odds = features @ np.array(list(duplicates.calibration.features.values())) + duplicates.calibration.offset
    score = np.where(aligned.compared, 1 / (1 + np.exp(-odds)), 0)
    want = {tuple(row) for row in rows[score >= duplicates.threshold].tolist()}
    assert set(zip(duplicates.pairs.a.tolist(), duplicates.pairs.b.tolist(), strict=True)) == want and len(want) >= 5


def test_identical_images_are_found_wherever_the_embedding_puts_them(textures: Textures) -> None:
    images = textures(60).copy()
    images[50:] = images[:10]
    Z = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    duplicates = near_duplicates(Z, images, n_neighbors=2, n_copies=140)
    assert duplicates.pairs.exact.sum() == 10 and set(duplicates.rows.tolist()) >= {*range(10), *range(50, 60)}
    assert (duplicates.pairs.score[duplicates.pairs.exact] == 1).all()
    across = near_duplicates(Z[50:], images[50:], base=Z[:50], base_images=images[:50], n_neighbors=1)
    assert across.share == 1 and across.pairs.exact.sum() == 10


def test_degenerate_sets_are_no_crash(textures: Textures) -> None:
    flat = np.full((30, 3, 32, 32), 9, dtype=np.uint8)
    same = near_duplicates(np.ones((30, 4), np.float32), flat)  # all vectors and all images the same
    assert same.share == 1 and same.calibration is None and same.pairs.exact.all()
    collapsed = near_duplicates(np.zeros((30, 4), np.float32), textures(30))
    assert len(collapsed.pairs) == 0
    for n in (0, 1, 2, 6):
        few = textures(6)[:n]
        assert len(near_duplicates(np.eye(n, 8, dtype=np.float32), few, n_copies=140).pairs) == 0
    Z, images = np.eye(3, dtype=np.float32), textures(3)
    one = near_duplicates(Z, images, base=Z[:1], base_images=images[:1])
    assert one.rows.tolist() == [0]


def test_without_images_nothing_is_verified() -> None:
    Z = np.array([[1, 0], [1, 0.01], [0, 1], [-1, 0]], dtype=np.float32)
    duplicates = near_duplicates(Z, threshold=0.01, n_neighbors=2)
    assert not duplicates.verified and duplicates.pairs.a.tolist() == [0] and duplicates.pairs.b.tolist() == [1]
    assert np.isnan(duplicates.pairs.score).all() and set(duplicates.pairs.columns()) == {
        "distance",
        "relative_distance",
    }
    assert duplicate_sets(duplicates.pairs, duplicates, Z, None).component.tolist() == [0, 0, -1, -1]
    json.dumps(duplicates.to_dict(), allow_nan=False)


def test_a_chain_of_crops_is_one_component_that_complete_linkage_splits(textures: Textures) -> None:
    """Overlapping windows of one large picture: neighbours are near-duplicates, the ends are not."""
    noise = np.random.default_rng(4).normal(size=(32, 60))
    wide = 128 + 250 * gaussian_filter(noise, 1.6) + 600 * gaussian_filter(noise, 4.5)
    chain = np.stack([[wide[:, 3 * i : 3 * i + 32]] * 3 for i in range(8)]).clip(0, 255).astype(np.uint8)
    images = np.concatenate([chain, textures(200)])
    duplicates = near_duplicates(embed(images), images, n_neighbors=8)
    groups = duplicate_sets(duplicates.pairs, duplicates, embed(images), images)
    assert len(set(groups.component[:8].tolist())) == 1 and groups.component[0] >= 0
    assert len(set(groups.complete[:8].tolist())) > 1
    for name in set(groups.complete[groups.complete >= 0].tolist()):
        assert len(set(groups.component[groups.complete == name].tolist())) == 1


def test_duplicate_free_rows_keeps_one_of_each_group(textures: Textures) -> None:
    images = textures(40).copy()
    images[10], images[20], images[31] = images[0], images[0], images[30]
    Z = embed(images)
    within = near_duplicates(Z, images)
    assert set(range(40)) - set(duplicate_free_rows(40, within=within).tolist()) == {10, 20, 31}
    across = near_duplicates(Z, images, base=Z[:1], base_images=images[:1])
    assert set(range(40)) - set(duplicate_free_rows(40, across, within).tolist()) == {0, 10, 20, 31}
    assert duplicate_free_rows(3).tolist() == [0, 1, 2]


def test_bad_input_is_refused(textures: Textures) -> None:
    Z, images = np.eye(4, dtype=np.float32), textures(4)
    with pytest.raises(DataError, match="4 vectors and 3 images"):
        near_duplicates(Z, images[:3])
    with pytest.raises(DataError, match="both sets"):
        near_duplicates(Z, images, base=Z)
    with pytest.raises(ConfigError, match="without images a threshold"):
        near_duplicates(Z)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        near_duplicates(Z, images, threshold=1.5)
    with pytest.raises(ConfigError, match="at least 0"):
        near_duplicates(Z, threshold=-1)
    with pytest.raises(ConfigError, match="precision is 1"):
        near_duplicates(Z, images, precision=1)
    with pytest.raises(ConfigError, match="unknown metric"):
        near_duplicates(Z, images, metric="cos")
    with pytest.raises(DataError, match="gives 3 dimensions; the embeddings have 4"):
        near_duplicates(Z, images, embed=lambda x: np.ones((len(x), 3), np.float32))
    with pytest.raises(ConfigError, match=r"did not make these embeddings \(cosine 0\.50"):
        near_duplicates(Z, images, embed=lambda x: np.ones((len(x), 4), np.float32))
    with pytest.raises(DataError, match="embed needs the images"):
        near_duplicates(Z, threshold=0.1, embed=embed)
    with pytest.raises(DataError, match="base_images without base"):
        near_duplicates(Z, images, base_images=images)
    with pytest.raises(ConfigError, match="0 copies"):
        near_duplicates(Z, images, n_copies=0)
    with pytest.raises(DataError, match="must be uint8"):
        near_duplicates(Z, images / 255.0)  # type: ignore[arg-type]
    with pytest.raises(DataError, match="numbers"):
        near_duplicates(np.array([["a", "b"]]), threshold=0.1)


def by_distance(x: np.ndarray) -> object:
    return lambda rows: 1 - np.abs(x[rows[:, 0]] - x[rows[:, 1]])


def test_a_chain() -> None:
    x = np.array([0.0, 0.1, 0.2, 0.3, 5.0, 9.0, 9.05])
    pairs = np.array([[0, 1], [1, 2], [2, 3], [5, 6]])
    sets = link(7, pairs[:, 0], pairs[:, 1], by_distance(x), 0.85)
    assert sets.component.tolist() == [0, 0, 0, 0, -1, 1, 1]
    complete = sets.complete.tolist()
    assert complete[4] == -1 and complete[5] == complete[6] >= 0
    assert sorted(np.bincount(sets.complete[:4]).tolist(), reverse=True)[:2] == [2, 2]
    assert sets.to_dict() == {
        "connected_components": {"groups": 2, "images": 6, "largest": 4},
        "complete_linkage": {"groups": 3, "images": 6, "largest": 2},
        "components_too_large_to_split": 0,
    }


def test_equals_complete_linkage_of_all_pairs() -> None:
    x = np.random.default_rng(0).uniform(0, 3, 60)
    apart = np.abs(x[:, None] - x)
    a, b = np.nonzero(np.triu(apart <= 0.1, 1))
    sets = link(60, a, b, by_distance(x), 0.9)
    want = fcluster(linkage(squareform(apart), method="complete"), 0.1, criterion="distance")
    for i in range(60):
        for j in range(i):
            together = sets.complete[i] == sets.complete[j] >= 0
            assert together == (want[i] == want[j]), (i, j)
            if together:
                assert apart[i, j] <= 0.1 and sets.component[i] == sets.component[j]


def test_large_components_stay_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearkin.duplicates.find.LARGEST", 5)
    x = np.arange(8) / 10
    asked: list[int] = []

    def similarity(rows: np.ndarray) -> np.ndarray:
        asked.append(len(rows))
        return 1 - np.abs(x[rows[:, 0]] - x[rows[:, 1]])

    sets = link(8, np.arange(7), np.arange(1, 8), similarity, 0.85)
    assert sets.not_split == 1 and (sets.complete == 0).all() and not asked


def test_nothing_to_link() -> None:
    none = np.zeros(0, dtype=np.int64)
    assert components(4, none, none).tolist() == [-1] * 4
    sets = link(4, none, none, by_distance(np.zeros(4)), 0.5)
    assert sets.to_dict()["complete_linkage"] == {"groups": 0, "images": 0, "largest": 0}
    assert (link(0, none, none, by_distance(np.zeros(0)), 0.5).component == np.zeros(0)).all()


@pytest.mark.slow
def test_cifar10_test_images_that_are_there_twice(cifar10_dir: Path) -> None:
    """Real photographs: duplicates in the raw pixels alone, pairs share a class far more often than neighbours do."""
    from nearkin.data import load

    data = load(str(cifar10_dir), progress=False)
    part = data.test if data.test is not None else data.train
    images, labels = np.asarray(part.images), part.labels
    assert labels is not None
    duplicates = near_duplicates(embed(images), images)
    assert 20 <= len(duplicates.rows) <= 400
    assert (labels[duplicates.pairs.a] == labels[duplicates.pairs.b]).mean() > 0.9
