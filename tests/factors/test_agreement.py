"""Agreement of neighbours: 1 when the embedding is the factor, 0 when it is random, brute force in between."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.factors.agreement import _partners, neighbor_agreement, ratios_with_intervals
from nearkin.factors.factors import Factor
from nearkin.fileio import to_json
from nearkin.search.exact import Neighbors, knn

RNG = np.random.default_rng(0)
N, K = 600, 8


def near(Z: np.ndarray, k: int = K) -> Neighbors:
    Z = np.asarray(Z, dtype=np.float32)
    return knn(Z, Z, k, metric="l2", exclude_self=True)


NUMBER = Factor("size", "other", RNG.uniform(size=(N, 1)).astype(np.float32))
COLOUR = Factor("border_colour", "background", RNG.uniform(size=(N, 3)).astype(np.float32))
CATEGORY = Factor("texture", "background", RNG.integers(0, 4, N))
LABELS = RNG.integers(0, 5, N)


def by_name(found: object) -> dict[str, object]:
    return {row.factor: row for row in found.rows}  # type: ignore[attr-defined]


def test_an_embedding_that_is_the_factor_agrees_fully() -> None:
    number = neighbor_agreement(near(NUMBER.values), None, [NUMBER]).rows[0]
    assert number.value is not None and number.value > 0.97
    category = neighbor_agreement(near(np.eye(4)[CATEGORY.values]), None, [CATEGORY]).rows[0]
    assert category.value == pytest.approx(1) and category.interval == pytest.approx((1, 1))
    classes = neighbor_agreement(near(np.eye(5)[LABELS]), LABELS, []).rows[0]
    assert classes.factor == "class" and classes.value == pytest.approx(1)


def test_random_neighbours_agree_in_nothing() -> None:
    found = neighbor_agreement(near(RNG.normal(size=(N, 16))), LABELS, [NUMBER, COLOUR, CATEGORY])
    for row in found.rows:
        assert row.value is not None and abs(row.value) < 0.05
        assert row.interval is not None and row.interval[0] < row.value < row.interval[1]
        assert row.interval[0] < 0.03 and row.interval[1] > -0.03


def test_neighbours_that_avoid_each_other_agree_less_than_random_ones() -> None:
    # Each image beside the images of the opposite category.
    two = Factor("side", "other", np.arange(N) % 2)
    indices = np.stack([(np.arange(N) + 1 + 2 * j) % N for j in range(3)], axis=1)
    found = neighbor_agreement(Neighbors(np.zeros((N, 3), dtype=np.float32), indices), None, [two]).rows[0]
    assert found.value == pytest.approx(-1, abs=0.01)


def test_categories_by_purity_and_chance() -> None:
    found = near(RNG.normal(size=(N, 3)))
    row = neighbor_agreement(found, LABELS, []).rows[0]
    purity = (LABELS[found.indices] == LABELS[:, None]).mean()
    counts = np.bincount(LABELS)
    chance = (counts * (counts - 1)).sum() / (N * (N - 1))
    assert row.value == pytest.approx((purity - chance) / (1 - chance), abs=1e-9)


def test_numbers_by_all_pairs() -> None:
    n = 150  # all other images are partners then
    x = COLOUR.values[:n]
    found = near(RNG.normal(size=(n, 3)) + x)
    row = neighbor_agreement(found, None, [Factor("c", "other", x)]).rows[0]
    pairs = np.linalg.norm(x[:, None].astype(float) - x[None], axis=2)
    to_neighbors = np.take_along_axis(pairs, found.indices, axis=1).mean()
    assert row.value == pytest.approx(1 - to_neighbors / (pairs.sum() / (n * (n - 1))), abs=1e-6)


def test_partners_are_others_each_once_and_equally_often() -> None:
    for n in (2, 7, 500):
        found = _partners(n, np.random.default_rng(0))
        assert found.shape == (n, min(n - 1, 200))
        assert all(len(set(row)) == len(row) and i not in row for i, row in enumerate(found.tolist()))
        assert len(set(np.bincount(found.ravel(), minlength=n))) == 1


def test_what_only_the_class_brings_vanishes_given_the_class() -> None:
    # The colour depends on the class alone (plus noise); neighbours agree in class and in nothing else.
    colour = (np.eye(5, 3)[LABELS] + 0.2 * RNG.normal(size=(N, 3))).astype(np.float32)
    found = near(np.eye(5)[LABELS] + 0.01 * RNG.normal(size=(N, 5)))
    row = neighbor_agreement(found, LABELS, [Factor("border_colour", "background", colour)]).rows[1]
    assert row.value is not None and row.value > 0.4
    assert row.given_class == pytest.approx(0, abs=0.05)
    # Neighbours by colour agree beyond the class.
    row = neighbor_agreement(near(colour), LABELS, [Factor("border_colour", "background", colour)]).rows[1]
    assert row.given_class is not None and row.given_class > 0.5


def test_unknown_labels_are_left_out() -> None:
    labels = LABELS.copy()
    labels[::3] = -1
    found = near(np.eye(5)[LABELS])
    row = neighbor_agreement(found, labels, []).rows[0]
    assert row.value == pytest.approx(1) and row.n <= (labels >= 0).sum()
    assert neighbor_agreement(found, np.full(N, -1), [NUMBER]).rows[0].factor == "size"


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    hits = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        random = rng.uniform(0.5, 1.5, 150)
        near = random * rng.uniform(0, 1.2, 150)  # expected ratio 0.6
        ((_, interval),) = ratios_with_intervals([(near, random)], seed=seed, resamples=200)
        assert interval is not None
        hits += interval[0] <= 0.4 <= interval[1]
    assert 180 <= hits <= 199


def test_seeded_and_json() -> None:
    found = near(COLOUR.values)
    a, b = (to_json(neighbor_agreement(found, LABELS, [COLOUR, CATEGORY], seed=2)) for _ in range(2))
    assert a == b
    said = json.loads(json.dumps(a, allow_nan=False))
    assert [row["factor"] for row in said["factors"]] == ["class", "border_colour", "texture"]
    assert set(said["factors"][1]) == {
        "factor",
        "group",
        "categorical",
        "n",
        "value",
        "interval",
        "given_class",
        "given_class_interval",
    }


def test_factors_that_do_not_vary_have_no_agreement() -> None:
    same = [Factor("a", "other", np.zeros(N, dtype=np.int64)), Factor("b", "other", np.ones((N, 2), dtype=np.float32))]
    for row in neighbor_agreement(near(COLOUR.values), np.zeros(N, dtype=np.int64), same).rows:
        assert row.value is None and row.interval is None and row.given_class is None
    json.dumps(to_json(neighbor_agreement(near(COLOUR.values), LABELS, same)), allow_nan=False)


def test_two_images() -> None:
    x = Factor("x", "other", np.array([[0.0], [1.0]], dtype=np.float32))
    rows = neighbor_agreement(near(np.eye(2), 1), np.array([0, 1]), [x]).rows
    assert rows[0].value == pytest.approx(0) and rows[1].value == pytest.approx(0)


def test_refusals() -> None:
    with pytest.raises(DataError, match="at least 2 images"):
        neighbor_agreement(Neighbors(np.zeros((1, 1), dtype=np.float32), np.zeros((1, 1), dtype=np.int64)), None, [])
    with pytest.raises(DataError, match="'size' has 600 values for 150 images"):
        neighbor_agreement(near(RNG.normal(size=(150, 2))), None, [NUMBER])
