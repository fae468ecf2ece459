"""Precision@k and mAP@k against a plain transcription and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import average_precision_score
from sklearn.neighbors import KNeighborsClassifier

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.retrieval.precision import precision_at_k, retrieval_precision
from nearkin.search.exact import Neighbors, knn

CLASSES = ("a", "b", "c")


def planted(n: int = 90, noise: float = 1.0, seed: int = 0) -> Embeddings:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 3, n)
    Z = (np.eye(3, 6)[y] * 3 + noise * rng.normal(size=(n, 6))).astype(np.float32)
    return Embeddings(Z, np.arange(n).astype(str), y, np.full(n, "train"), CLASSES)


def transcription(Z: np.ndarray, y: np.ndarray, k: int) -> tuple[list[float], list[float]]:
    """The textbook: sort everything for each query, count by hand."""
    precision, average = [], []
    for q in range(len(Z)):
        others = [i for i in range(len(Z)) if i != q]
        others.sort(key=lambda i: float(np.linalg.norm(Z[q].astype(np.float64) - Z[i])))
        hits, total = 0, 0.0
        for place, i in enumerate(others[:k], start=1):
            if y[i] == y[q]:
                hits += 1
                total += hits / place
        precision.append(hits / k)
        average.append(total / min(k, sum(y[i] == y[q] for i in others)))
    return precision, average


def test_against_the_transcription_overall_and_per_class() -> None:
    made = planted()
    assert made.labels is not None
    p, ap = (np.array(v) for v in transcription(made.Z, made.labels, 7))
    found = retrieval_precision(made, k=7, metric="l2")
    assert found is not None and found.overall.n == 90 and found.unmatched == 0
    assert found.overall.precision == pytest.approx(p.mean()) and found.overall.map == pytest.approx(ap.mean())
    for c, name in enumerate(CLASSES):
        rows = made.labels == c
        assert found.per_class[name].n == rows.sum()
        assert found.per_class[name].precision == pytest.approx(p[rows].mean())
        assert found.per_class[name].map == pytest.approx(ap[rows].mean())
    low, high = found.precision_interval or (0, 0)
    assert (low + high) / 2 == pytest.approx(p.mean()) and (high - low) / 2 == pytest.approx(
        1.959964 * p.std(ddof=1) / np.sqrt(90)
    )


def test_whole_ranking_is_scikit_learns_average_precision() -> None:
    made = planted(40)
    assert made.labels is not None
    found = retrieval_precision(made, k=39, metric="l2")
    theirs = []
    for q in range(40):
        d = np.linalg.norm(made.Z - made.Z[q], axis=1)
        rest = np.arange(40) != q
        theirs.append(average_precision_score(made.labels[rest] == made.labels[q], -d[rest]))
    assert found is not None and found.overall.map == pytest.approx(np.mean(theirs), abs=1e-6)
    assert found.overall.precision == pytest.approx(found.overall.chance)  # all others found: nothing but chance


def test_test_against_train_is_scikit_learns_neighbour_share() -> None:
    base, queries = planted(seed=1), planted(30, seed=2)
    assert base.labels is not None and queries.labels is not None
    found = retrieval_precision(base, queries, k=5, metric="l2")
    share = KNeighborsClassifier(5, algorithm="brute").fit(base.Z, base.labels).predict_proba(queries.Z)
    assert found is not None
    assert found.overall.precision == pytest.approx(share[np.arange(30), queries.labels].mean())
    assert found.overall.chance == pytest.approx(np.mean([(base.labels == y).mean() for y in queries.labels]))


def test_noise_is_at_chance_and_planted_classes_are_found() -> None:
    noise = retrieval_precision(planted(600, noise=1e6), k=10)
    clean = retrieval_precision(planted(600, noise=0.3), k=10)
    assert noise is not None and clean is not None
    assert abs(noise.overall.precision - noise.overall.chance) < 0.04 and clean.overall.precision > 0.97


def test_a_class_of_one_image_is_left_out_and_counted() -> None:
    Z = np.array([[1, 0], [1, 0.1], [0, 1]], dtype=np.float32)
    y = np.array([0, 0, 1])
    found = precision_at_k(knn(Z, Z, 1, exclude_self=True), y, y, ("a", "b"), True)
    assert found is not None and found.overall.n == 2 and found.unmatched == 1 and list(found.per_class) == ["a"]
    assert found.overall.precision == 1


def test_farthest_lists_can_be_judged_too() -> None:
    lists = Neighbors(np.zeros((2, 2), dtype=np.float32), np.array([[2, 3], [1, 0]]))
    found = precision_at_k(lists, np.array([0, 1]), np.array([0, 0, 1, 1]), ("a", "b"), False)
    assert found is not None and found.overall.precision == 0 and found.overall.map == 0


def test_partly_labelled_and_unlabelled() -> None:
    made = planted()
    assert made.labels is not None
    known = np.arange(90) % 3 > 0
    partly = Embeddings(made.Z, made.ids, np.where(known, made.labels, -1), made.split, CLASSES)
    rest = made.take(np.flatnonzero(known))
    assert retrieval_precision(partly, k=5) == retrieval_precision(rest, k=5)
    assert retrieval_precision(Embeddings(made.Z, made.ids, None, made.split), k=5) is None
    none = Embeddings(made.Z, made.ids, np.full(90, -1), made.split, CLASSES)
    assert retrieval_precision(none, k=5) is None


def test_a_sample_of_queries_is_seeded() -> None:
    made = planted(300)
    a, b, c = (retrieval_precision(made, k=5, n_queries=50, seed=s) for s in (1, 1, 2))
    assert a == b and a != c and a is not None and a.overall.n == 50


def test_errors() -> None:
    made = planted()
    with pytest.raises(ConfigError, match="between 1 and 89"):
        retrieval_precision(made, k=90)
    other = Embeddings(made.Z, made.ids, made.labels, made.split, ("x", "y", "z"))
    with pytest.raises(DataError, match="different classes"):
        retrieval_precision(made, other)
