"""Probes against scikit-learn."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from nearkin.errors import DataError
from nearkin.evaluate import linear
from nearkin.evaluate.linear import linear_probe, linear_sgd
from nearkin.evaluate.logistic import Logistic
from nearkin.vectors import standardize

RNG = np.random.default_rng(0)


def blobs(n: int, d: int = 12, classes: int = 4, spread: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    centres = np.random.default_rng(1).normal(size=(classes, d))
    y = RNG.integers(0, classes, n)
    mix = np.random.default_rng(2).normal(size=(d, d))  # correlated features
    return ((centres[y] + spread * RNG.normal(size=(n, d))) @ mix).astype(np.float32), y.astype(np.int64)


def test_standardize_equals_scikit_learn_and_keeps_constants_quiet() -> None:
    train, test = RNG.normal(3, 5, (100, 6)).astype(np.float32), RNG.normal(size=(20, 6)).astype(np.float32)
    scaler = StandardScaler().fit(train)
    a, b = standardize(train, test)
    assert np.allclose(a, scaler.transform(train), atol=1e-4) and np.allclose(b, scaler.transform(test), atol=1e-4)
    constant = np.full((50, 1), 0.1, dtype=np.float32)
    assert np.abs(standardize(constant, constant + 1e-7)[1]).max() == 0


def test_probe_chooses_on_validation_and_matches_scikit_learn_on_test() -> None:
    train, val, test = blobs(1500), blobs(500), blobs(1000)
    found = linear_probe(train, val, test, 4)
    scaler = StandardScaler().fit(train[0])
    models = {}
    for penalty in (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6):
        model = LogisticRegression(C=1 / (penalty * 1500), max_iter=2000).fit(scaler.transform(train[0]), train[1])
        models[penalty] = model.score(scaler.transform(val[0]), val[1]), model
    best = max(models.values(), key=lambda item: item[0])[1]
    assert found.accuracy == pytest.approx(best.score(scaler.transform(test[0]), test[1]), abs=0.005)
    assert found.interval[0] < found.accuracy < found.interval[1] and found.n == 1000


def test_hopeless_penalties_are_left_and_the_choice_is_that_of_full_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    """A wide, noisy problem, where weak penalties lose a little: leaving them early must change nothing that is told."""
    monkeypatch.setitem(globals(), "RNG", np.random.default_rng(0))  # the same problem, whatever ran before
    noise = np.random.default_rng(5)
    parts = []
    for n in (300, 400, 400):
        x, y = blobs(n)
        parts.append((np.concatenate([x, 3 * noise.normal(size=(n, 400))], axis=1).astype(np.float32), y))
    asked: list[bool] = []
    fit = linear.fit_logistic

    def watched(*arguments: Any, give_up: Callable[[Logistic], bool], **options: Any) -> Logistic:
        return fit(*arguments, give_up=lambda model: asked.append(give_up(model)) or asked[-1], **options)  # type: ignore[func-returns-value]

    monkeypatch.setattr(linear, "fit_logistic", watched)
    monkeypatch.setattr(linear, "_HOPELESS", 0.001)
    monkeypatch.setattr(linear, "_HOPELESS_IMAGES", 0)
    found = linear_probe(*parts, 4)
    assert True in asked and False in asked
    monkeypatch.setattr(linear, "_HOPELESS", 2.0)  # nothing is
    assert linear_probe(*parts, 4) == found


def test_validation_decides_not_test() -> None:
    """With validation labels shuffled, the choice is by chance, but test labels must never move it."""
    train, val, test = blobs(400), blobs(200), blobs(200)
    a = linear_probe(train, val, test, 4)
    b = linear_probe(train, val, (test[0], np.roll(test[1], 1)), 4)
    assert a.chosen == b.chosen


def test_rank_deficient_and_wide_features_converge() -> None:
    x, y = blobs(200)
    wide = np.concatenate([x, x, x @ RNG.normal(size=(12, 300))], axis=1).astype(np.float32)
    found = linear_probe((wide, y), (wide, y), (wide, y), 4)
    assert found.chosen["converged"] and found.accuracy > 0.8


def test_sgd_probe_sees_scale_and_standardised_does_not() -> None:
    """The reference study's probe reads a collapse of scale as failure; information may still be there."""
    train, test = blobs(2000, spread=0.5), blobs(500, spread=0.5)
    whole = linear_sgd(train, test, 4, seed=0)
    tiny = tuple((1 + 1e-4 * x, y) for x, y in (train, test))
    assert whole.accuracy > 0.9
    assert linear_sgd(tiny[0], tiny[1], 4, seed=0).accuracy < 0.6
    assert linear_sgd(tiny[0], tiny[1], 4, seed=0, standardized=True).accuracy > 0.9


def test_sgd_probe_is_seeded() -> None:
    train, test = blobs(500), blobs(200)
    assert linear_sgd(train, test, 4, seed=3) == linear_sgd(train, test, 4, seed=3)


def test_non_finite_features_are_refused() -> None:
    x, y = blobs(50)
    bad = x.copy()
    bad[3, 3] = np.inf
    with pytest.raises(DataError, match="not finite"):
        linear_probe((bad, y), (x, y), (x, y), 4)
