"""The whole search: planted duplicates of every kind recovered, none in random sets, degenerate sets, brute force."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from nearkin.duplicates.find import duplicate_free_rows, find_duplicates, group_duplicates
from nearkin.duplicates.planted import KINDS, plant
from nearkin.duplicates.registration import align
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
        "asked": np.concatenate([others, planted.copies]),
        "kind": planted.kind,
        "source": planted.source_row,
    }


def test_planted_duplicates_of_every_kind_are_found_across_sets(world: dict[str, NDArray[np.generic]]) -> None:
    asked, base = world["asked"], world["base"]
    # Vectors of the sources with noise: every source is among the nearest, so that the pixels decide.
    Z = np.concatenate([embed(asked[:400]), embed(base[world["source"].astype(int)])])
    Z += np.random.default_rng(0).normal(0, 0.2, Z.shape).astype(np.float32)
    found = find_duplicates(Z, asked, base=embed(base), base_images=base, k=5)
    right = {(400 + i, int(s)) for i, s in enumerate(world["source"])}
    got = {(int(a), int(b)) for a, b in zip(found.pairs.a, found.pairs.b, strict=True)}
    assert len(got - right) <= 2
    for kind in KINDS:
        mine = {(400 + i, int(s)) for i, s in enumerate(world["source"]) if world["kind"][i] == kind}
        assert len(mine & got) >= 8, kind
    assert found.verified and not found.within and found.calibration is not None
    assert (np.diff(found.pairs.score) <= 0).all() and found.share == pytest.approx(len(found.rows()) / 470)
    report = found.to_dict()
    assert set(report["calibration"]["evaluation"]["recall_by_kind"]) == set(KINDS)
    json.dumps(report, allow_nan=False)
    keep = duplicate_free_rows(470, across=found)
    assert len(keep) == 470 - len(found.rows()) and not np.isin(keep, found.rows()).any()


def test_vectors_of_the_copies_bring_the_distance_into_the_score(world: dict[str, NDArray[np.generic]]) -> None:
    asked, base = world["asked"], world["base"]
    planted = plant(base, 0)
    found = find_duplicates(
        embed(asked), asked, base=embed(base), base_images=base, planted=planted, planted_Z=embed(planted.copies)
    )
    assert found.calibration is not None and found.calibration.names[-1] == "relative_distance"
    assert found.calibration.weights[-1] < 0 and found.calibration.report["copies_not_proposed"] < 0.3
    assert len(np.intersect1d(found.rows(), np.arange(400, 470))) >= 50


def test_within_one_set_each_pair_once(textures: Textures) -> None:
    images = textures(300)
    planted = plant(images, 3, kinds=("flip", "jpeg"), count=20)
    whole = np.concatenate([images, planted.copies])
    found = find_duplicates(embed(whole), whole)
    assert found.within and (found.pairs.a < found.pairs.b).all()
    got = set(zip(found.pairs.a.tolist(), found.pairs.b.tolist(), strict=True))
    assert (
        len(got) == len(found.pairs) and len(got & {(int(s), 300 + i) for i, s in enumerate(planted.source_row)}) >= 18
    )
    keep = duplicate_free_rows(320, within=found)
    assert len(keep) == 320 - len(got) and set(range(300)) <= set(keep.tolist()) | set(planted.source_row.tolist())


def test_random_images_give_none(textures: Textures) -> None:
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (300, 3, 32, 32)).astype(np.uint8)
    for images in (textures(300), noise):
        for Z in (embed(images), rng.normal(size=(300, 8)).astype(np.float32)):
            found = find_duplicates(Z, images, planted=plant(images, 0, count=350))
            assert len(found.pairs) == 0 and found.share == 0 and found.to_dict()["pairs"] == 0


def test_equals_brute_force_over_all_pairs(textures: Textures) -> None:
    """With k = N - 1 every pair is a candidate: the result is that of scoring all pairs."""
    images = np.concatenate([textures(25), plant(textures(25), 0, count=7).copies])
    Z = embed(images)
    found = find_duplicates(Z, images, k=31)
    assert found.candidates == 32 * 31 // 2 and found.calibration is not None
    rows = np.stack(np.triu_indices(32, 1), axis=1)
    aligned = align(images, images, rows)
    features = np.stack([aligned.correlation, aligned.detail, aligned.local, aligned.extent], axis=1)
    odds = features @ np.array(found.calibration.weights) + found.calibration.offset
    score = np.where(aligned.compared, 1 / (1 + np.exp(-odds)), 0)
    want = {tuple(row) for row in rows[score >= found.threshold].tolist()}
    assert set(zip(found.pairs.a.tolist(), found.pairs.b.tolist(), strict=True)) == want and len(want) >= 5


def test_identical_images_are_found_wherever_the_embedding_puts_them(textures: Textures) -> None:
    images = textures(60).copy()
    images[50:] = images[:10]
    Z = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    found = find_duplicates(Z, images, k=2, planted=plant(images, 0, count=140))
    assert found.pairs.exact.sum() == 10 and set(found.rows().tolist()) >= {*range(10), *range(50, 60)}
    assert (found.pairs.score[found.pairs.exact] == 1).all()
    across = find_duplicates(Z[50:], images[50:], base=Z[:50], base_images=images[:50], k=1)
    assert across.share == 1 and across.pairs.exact.sum() == 10


def test_degenerate_sets_are_no_crash(textures: Textures) -> None:
    flat = np.full((30, 3, 32, 32), 9, dtype=np.uint8)
    same = find_duplicates(np.ones((30, 4), np.float32), flat)  # all vectors and all images the same
    assert same.share == 1 and same.calibration is None and same.pairs.exact.all()
    collapsed = find_duplicates(np.zeros((30, 4), np.float32), textures(30))
    assert len(collapsed.pairs) == 0
    for n in (0, 1, 2, 6):
        few = textures(6)[:n]
        planted = plant(few, 0, count=140) if n else None
        assert len(find_duplicates(np.eye(n, 8, dtype=np.float32), few, planted=planted).pairs) == 0
    Z, images = np.eye(3, dtype=np.float32), textures(3)
    one = find_duplicates(Z, images, base=Z[:1], base_images=images[:1])
    assert one.rows().tolist() == [0]


def test_without_images_nothing_is_verified() -> None:
    Z = np.array([[1, 0], [1, 0.01], [0, 1], [-1, 0]], dtype=np.float32)
    found = find_duplicates(Z, threshold=0.01, k=2)
    assert not found.verified and found.pairs.a.tolist() == [0] and found.pairs.b.tolist() == [1]
    assert np.isnan(found.pairs.score).all() and set(found.pairs.columns()) == {"distance", "relative_distance"}
    assert group_duplicates(found.pairs, found, Z, None).component.tolist() == [0, 0, -1, -1]
    json.dumps(found.to_dict(), allow_nan=False)


def test_a_chain_of_crops_is_one_component_that_complete_linkage_splits(textures: Textures) -> None:
    """Overlapping windows of one large picture: neighbours are near-duplicates, the ends are not."""
    noise = np.random.default_rng(4).normal(size=(32, 60))
    wide = 128 + 250 * gaussian_filter(noise, 1.6) + 600 * gaussian_filter(noise, 4.5)
    chain = np.stack([[wide[:, 3 * i : 3 * i + 32]] * 3 for i in range(8)]).clip(0, 255).astype(np.uint8)
    images = np.concatenate([chain, textures(200)])
    found = find_duplicates(embed(images), images, k=8)
    groups = group_duplicates(found.pairs, found, embed(images), images)
    assert len(set(groups.component[:8].tolist())) == 1 and groups.component[0] >= 0
    assert len(set(groups.complete[:8].tolist())) > 1
    for name in set(groups.complete[groups.complete >= 0].tolist()):
        assert len(set(groups.component[groups.complete == name].tolist())) == 1


def test_duplicate_free_rows_keeps_one_of_each_group(textures: Textures) -> None:
    images = textures(40).copy()
    images[10], images[20], images[31] = images[0], images[0], images[30]
    Z = embed(images)
    within = find_duplicates(Z, images)
    assert set(range(40)) - set(duplicate_free_rows(40, within=within).tolist()) == {10, 20, 31}
    across = find_duplicates(Z, images, base=Z[:1], base_images=images[:1])
    assert set(range(40)) - set(duplicate_free_rows(40, across, within).tolist()) == {0, 10, 20, 31}
    assert duplicate_free_rows(3).tolist() == [0, 1, 2]


def test_bad_input_is_refused(textures: Textures) -> None:
    Z, images = np.eye(4, dtype=np.float32), textures(4)
    with pytest.raises(DataError, match="4 vectors and 3 images"):
        find_duplicates(Z, images[:3])
    with pytest.raises(DataError, match="both sets"):
        find_duplicates(Z, images, base=Z)
    with pytest.raises(ConfigError, match="without images a threshold"):
        find_duplicates(Z)
    with pytest.raises(ConfigError, match="between 0 and 1"):
        find_duplicates(Z, images, threshold=1.5)
    with pytest.raises(ConfigError, match="at least 0"):
        find_duplicates(Z, threshold=-1)
    with pytest.raises(ConfigError, match="precision is 1"):
        find_duplicates(Z, images, precision=1)
    with pytest.raises(ConfigError, match="unknown metric"):
        find_duplicates(Z, images, metric="cos")
    planted = plant(images, 0, count=7)
    with pytest.raises(DataError, match="a vector per copy"):
        find_duplicates(Z, images, planted=planted, planted_Z=Z)
    with pytest.raises(DataError, match="outside 0..1"):
        find_duplicates(Z[:2], images[:2], planted=planted)


@pytest.mark.slow
def test_cifar10_test_images_that_are_there_twice(cifar10_dir: Path) -> None:
    """Real photographs: found in the raw pixels alone, pairs share a class far more often than neighbours do."""
    from nearkin.data import load

    data = load(str(cifar10_dir), progress=False)
    part = data.test if data.test is not None else data.train
    images, labels = np.asarray(part.images), part.labels
    assert labels is not None
    found = find_duplicates(embed(images), images)
    assert 20 <= len(found.rows()) <= 400
    assert (labels[found.pairs.a] == labels[found.pairs.b]).mean() > 0.9
