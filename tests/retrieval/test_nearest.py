"""Search by example against brute force in float64, and what odd vectors do."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json
from nearkin.retrieval.nearest import Queries, class_examples, find_row, nearest, queries_of

RNG = np.random.default_rng(0)


def embeddings(n: int = 120, labelled: bool = True, d: int = 12) -> Embeddings:
    Z = (RNG.normal(size=(n, d)) + 1).astype(np.float32)
    y = np.arange(n) % 4
    split = np.where(np.arange(n) % 3 == 0, "test", "train")
    ids = np.array([f"set/{i:03d}.png" for i in range(n)])
    return Embeddings(Z, ids, y if labelled else None, split, ("a", "b", "c", "d") if labelled else ())


def distance(a: np.ndarray, b: np.ndarray, metric: str) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    if metric == "cosine":
        return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    return float(np.sqrt(np.sum((a - b) ** 2)))


@pytest.mark.parametrize("metric", ["cosine", "l2"])
def test_rows_as_queries_against_brute_force(metric: str) -> None:
    made = embeddings()
    found = nearest(made, queries_of(made, np.array([7, 50])), n_neighbors=6, metric=metric, with_farthest=True)
    for answer in found.answers:
        assert answer.row is not None and answer.id == made.ids[answer.row] and answer.label == "abcd"[answer.row % 4]
        order = sorted(
            (i for i in range(120) if i != answer.row), key=lambda i: distance(made.Z[answer.row], made.Z[i], metric)
        )
        assert [hit.row for hit in answer.nearest] == order[:6]
        assert [hit.row for hit in answer.farthest] == order[::-1][:6]
        for hit in (*answer.nearest, *answer.farthest):
            assert hit.distance == pytest.approx(distance(made.Z[answer.row], made.Z[hit.row], metric), abs=1e-6)
            assert hit.id == made.ids[hit.row] and hit.label == "abcd"[hit.row % 4]


def test_a_vector_from_outside_finds_its_twin_at_distance_0() -> None:
    made = embeddings()
    outside = Queries(made.Z[[5]], ("new.png",), (None,), np.array([-1]))
    for metric in ("cosine", "l2"):
        answer = nearest(made, outside, n_neighbors=3, metric=metric).answers[0]
        assert answer.row is None and answer.nearest[0].row == 5 and answer.nearest[0].distance == 0
    mixed = Queries(made.Z[[5, 5]], ("new.png", "set/005.png"), (None, None), np.array([-1, 5]))
    both = nearest(made, mixed, n_neighbors=3).answers
    assert both[0].nearest[0].row == 5 and all(hit.row != 5 for hit in both[1].nearest)
    assert [hit.row for hit in both[0].nearest[1:]] == [hit.row for hit in both[1].nearest[:2]]


def test_some_rows_only() -> None:
    made = embeddings()
    rows = np.flatnonzero(made.split == "train")
    found = nearest(made, queries_of(made, np.array([0, 1])), n_neighbors=79, rows=rows)  # 0 is test, 1 is train
    assert found.searched == 80
    assert set(h.row for h in found.answers[1].nearest) == set(rows.tolist()) - {1}
    assert set(h.row for h in found.answers[0].nearest) < set(rows.tolist())


def test_grid_has_one_seeded_query_per_class() -> None:
    made = embeddings()
    rows = class_examples(made, seed=3)
    assert made.labels is not None
    assert made.labels[rows].tolist() == [0, 1, 2, 3] and np.array_equal(rows, class_examples(made, seed=3))
    assert any(not np.array_equal(rows, class_examples(made, seed=s)) for s in range(4, 8))
    test = np.flatnonzero(made.split == "test")
    assert np.isin(class_examples(made, rows=test), test).all()
    assert (
        len(class_examples(embeddings(labelled=False))) == 10
        and len(class_examples(embeddings(4, labelled=False))) == 4
    )


def test_unlabelled() -> None:
    made = embeddings(labelled=False)
    found = nearest(made, queries_of(made, class_examples(made)), n_neighbors=5)
    assert all(a.label is None and a.nearest[0].label is None and not a.farthest for a in found.answers)
    json.dumps(to_json(found), allow_nan=False)


def test_names_of_rows() -> None:
    made = embeddings()
    assert find_row(made, "set/007.png") == 7 and find_row(made, "row:7") == 7 and find_row(made, "7") == 7
    assert find_row(made, "photo.png") is None and find_row(made, "-1") is None and find_row(made, "row:") is None
    numbers = Embeddings(made.Z[:3], np.array(["2", "1", "0"]), None, made.split[:3])
    assert find_row(numbers, "2") == 0 and find_row(numbers, "row:2") == 2  # an id goes before a row
    with pytest.raises(ConfigError, match="0 to 119"):
        find_row(made, "120")
    with pytest.raises(ConfigError) as refused:
        nearest(made, "sett/007.png")
    text = str(refused.value)
    assert "Did you mean 'set/007.png'" in text and "row:119" in text and "\n" not in text


def test_identical_and_zero_vectors_are_said_to_mean_nothing() -> None:
    ids, split = np.arange(8).astype(str), np.full(8, "train")
    same = Embeddings(np.ones((8, 3), dtype=np.float32), ids, None, split)
    for metric in ("cosine", "l2"):
        found = nearest(same, queries_of(same, np.array([2])), n_neighbors=7, metric=metric, with_farthest=True)
        assert "identical" in found.notes[0]
        for hits in (found.answers[0].nearest, found.answers[0].farthest):
            assert sorted(hit.row for hit in hits) == [0, 1, 3, 4, 5, 6, 7] and all(hit.distance == 0 for hit in hits)
    Z = np.eye(8, 3, dtype=np.float32)
    zeros = Embeddings(Z, ids, None, split)
    found = nearest(zeros, queries_of(zeros, np.array([0, 7])), n_neighbors=3, with_farthest=True)
    assert "5 of 8 vectors are zero" in found.notes[0]
    assert all(hit.distance == 1 for answer in found.answers for hit in answer.farthest)


def test_errors() -> None:
    made = embeddings()
    one = queries_of(made, np.array([0]))
    with pytest.raises(ConfigError, match="between 1 and 119"):
        nearest(made, one, n_neighbors=120)
    with pytest.raises(ConfigError, match="Did you mean 'l2'"):
        nearest(made, one, metric="l1")
    narrow = Queries(made.Z[:1, :5], ("x",), (None,), np.array([-1]))
    with pytest.raises(DataError, match="5 dimensions, the embeddings have 12"):
        nearest(made, narrow)
    broken = Queries(np.full((1, 12), np.nan, dtype=np.float32), ("x",), (None,), np.array([-1]))
    with pytest.raises(DataError, match="not finite"):
        nearest(made, broken)
    single = made.take(np.array([0]))
    with pytest.raises(DataError, match="too few"):
        nearest(single, queries_of(single, np.array([0])), n_neighbors=1)


def test_every_kind_of_query() -> None:
    made = embeddings()
    by_row = nearest(made, [7, 50], n_neighbors=3)
    assert by_row == nearest(made, ["set/007.png", "row:50"], n_neighbors=3)
    assert (
        by_row == nearest(made, np.array([7, 50]), n_neighbors=3)
        and by_row.answers[:1] == nearest(made, 7, n_neighbors=3).answers
    )
    assert nearest(made, "set/050.png", n_neighbors=3).answers == by_row.answers[1:]
    assert [answer.row for answer in nearest(made).answers] == class_examples(made).tolist()
    vectors = nearest(made, made.Z[[7, 50]], n_neighbors=3)
    assert vectors.indices[:, 0].tolist() == [7, 50] and vectors.distances[:, 0].tolist() == [0, 0]
    assert vectors.answers[0].id == "0" and vectors.answers[0].row is None
    others = nearest(made, made.take(np.array([7])), n_neighbors=3).answers[0]
    assert (others.id, others.label, others.row) == ("set/007.png", "d", None) and others.nearest[0].row == 7
    for row in (120, -1):
        with pytest.raises(ConfigError, match="rows go from 0 to 119"):
            nearest(made, row)
    numbered = Embeddings(made.Z[:3], np.array(["2", "1", "0"]), None, made.split[:3])
    assert [answer.id for answer in nearest(numbered, [2, "2"], n_neighbors=1).answers] == [
        "0",
        "2",
    ]  # a number is a row
    assert nearest(made, range(120)).indices.shape == (120, 5)


def test_plain_arrays_and_arrays_of_results() -> None:
    Z = RNG.normal(size=(30, 5))
    found = nearest(Z, [3], n_neighbors=4, metric="l2")
    lengths = np.linalg.norm(Z - Z[3], axis=1)
    assert found.indices.tolist() == [np.argsort(lengths)[1:5].tolist()]
    assert found.distances == pytest.approx(np.sort(lengths)[None, 1:5], abs=1e-5)
    assert found.answers[0].nearest[0].id == str(found.indices[0, 0])
    assert len(nearest(Z).answers) == 10
