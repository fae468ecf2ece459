"""Entangled classes, planted and recovered."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.evaluate.entanglement import entanglement
from nearkin.search.exact import knn

RNG = np.random.default_rng(0)


def planted() -> tuple[np.ndarray, np.ndarray]:
    """Four classes; b and c lie on top of each other, a and d apart."""
    centres = np.array([[10, 0], [0, 0.2], [0.2, 0], [0, -10]])
    y = np.repeat(np.arange(4), 50)
    return (centres[y] + 0.3 * RNG.normal(size=(200, 2))).astype(np.float32), y


def test_planted_pair_is_found() -> None:
    Z, y = planted()
    near = knn(Z, Z, 10, metric="l2", exclude_self=True)
    found = entanglement(near, y, tuple("abcd"), np.arange(200).astype(str))
    assert (found.pairs[0].a, found.pairs[0].b) == ("b", "c") and found.pairs[0].mixing > 0.3
    assert all(pair.mixing < 0.01 for pair in found.pairs[1:])
    assert np.allclose(found.matrix.sum(axis=1), 1)
    assert found.purity == pytest.approx(np.mean([found.matrix[k, k] for k in range(4)]))


def test_matrix_against_a_plain_count() -> None:
    Z, y = planted()
    near = knn(Z, Z, 5, metric="l2", exclude_self=True)
    found = entanglement(near, y, tuple("abcd"), np.arange(200).astype(str))
    for a in range(4):
        for b in range(4):
            assert found.matrix[a, b] == pytest.approx((y[near.indices[y == a]] == b).mean())


def test_examples_are_the_closest_and_named_once() -> None:
    Z, y = planted()
    near = knn(Z, Z, 10, metric="l2", exclude_self=True)
    examples = entanglement(near, y, tuple("abcd"), np.arange(200).astype(str)).pairs[0].examples
    distances = [e.distance for e in examples]
    assert distances == sorted(distances)
    assert len({frozenset((e.query, e.neighbor)) for e in examples}) == len(examples) == 6
    assert all({int(y[int(e.query)]), int(y[int(e.neighbor)])} == {1, 2} for e in examples)
