"""The factor probe: how well each factor can be read from an embedding, linearly and by its neighbours."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError
from nearkin.factors.factors import Factor
from nearkin.fileio import named
from nearkin.search.exact import knn
from nearkin.vectors import check_finite, standardize

ALPHAS = tuple(10.0**p for p in range(-1, 7))
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1)  # scikit-learn's C
PROTOCOL = (
    "standardised frozen features; numbers: ridge regression, strength per factor by leave-one-out on train (RidgeCV), "
    "test R^2; categories: L2 logistic regression, C chosen on val, test accuracy, as skill over the largest class; "
    "kNN: mean or vote of the k nearest train images by cosine; test read once"
)
MAX_TRAIN = 10_000
_MAX_ITER, _TOLERANCE = 300, 1e-3


@dataclass(frozen=True)
class FactorReading:
    """How well one factor can be read from test images.

    Attributes:
        linear, knn: for numbers R^2 (several coordinates: weighted by their variance), for categories
            (accuracy - majority) / (1 - majority): 1 is perfect, 0 no better than a constant; below 0 is worse than that.
            None where the factor does not vary among test images, or train images.
        linear_accuracy, knn_accuracy, majority: for categories, in [0, 1]; majority is the accuracy of always saying
            the train split's largest class.
        strength: ridge alpha (geometric mean over coordinates) or C that was chosen. converged: of logistic regression.
    """

    factor: str
    group: str
    categorical: bool
    n_train: int
    n_test: int
    linear: float | None
    knn: float | None
    linear_accuracy: float | None = None
    knn_accuracy: float | None = None
    majority: float | None = None
    strength: float | None = None
    converged: bool | None = None


@dataclass(frozen=True)
class FactorProbe:
    """Readings of every factor. k: neighbours of the kNN reading. protocol: how they were made, in words."""

    k: int
    rows: tuple[FactorReading, ...] = field(metadata=named("factors"))
    protocol: str = PROTOCOL


def factor_probe(
    Z: NDArray[np.float32], split: NDArray[np.str_], factors: Sequence[Factor], *, k: int = 10
) -> FactorProbe:
    """Fit on train, choose on val (categories) or by leave-one-out (numbers), read test once.

    Args:
        Z: float32 (N, D). split: str (N,), with train, val and test rows. factors: each with N values.
    Raises:
        ConfigError: k below 1. DataError: a split without rows, or values that are not finite.
    """
    if k < 1:
        raise ConfigError(f"k is {k}; it must be at least 1.")
    train, val, test = (np.flatnonzero(split == name) for name in ("train", "val", "test"))
    for name, rows in (("train", train), ("val", val), ("test", test)):
        if len(rows) < 2:
            raise DataError(f"a factor probe needs at least 2 images with split '{name}'; there are {len(rows)}.")
    check_finite(Z, "factor probe: the features")
    x, x_val, x_test = standardize(Z[train], Z[val], Z[test])
    near = knn(Z[test], Z[train], min(k, len(train))).indices
    numbers = [factor for factor in factors if not factor.categorical]
    predictions = _ridge(x, x_test, [f.values[train] for f in numbers]) if numbers else []
    by_name = {factor.name: prediction for factor, prediction in zip(numbers, predictions, strict=True)}
    readings = []
    for factor in factors:
        y, y_val, y_test = (factor.values[rows] for rows in (train, val, test))
        if factor.categorical:
            readings.append(_categories(factor, (x, y), (x_val, y_val), (x_test, y_test), near))
            continue
        guess, alpha = by_name[factor.name]
        by_neighbors = y[near].mean(axis=1)
        readings.append(
            FactorReading(
                factor.name,
                factor.group,
                categorical=False,
                n_train=len(y),
                n_test=len(y_test),
                linear=r_squared(y_test, guess) if _varies(y) else None,
                knn=r_squared(y_test, by_neighbors) if _varies(y) else None,
                strength=alpha,
            )
        )
    return FactorProbe(k, tuple(readings))


def r_squared(truth: NDArray[np.float32], guess: NDArray[np.float32]) -> float | None:
    """1 - squared error / squared deviation from the mean, over all coordinates (N, C); None if ``truth`` is constant."""
    truth = truth.astype(np.float64)
    if not _varies(truth):
        return None
    total = np.square(truth - truth.mean(axis=0)).sum()
    return float(1 - np.square(truth - guess).sum() / total)


def _varies(values: NDArray[Any]) -> bool:
    return bool(values.std(axis=0, dtype=np.float64).max() > 1e-6 * max(1e-12, float(np.abs(values).max())))


def _ridge(
    x: NDArray[np.float32], x_test: NDArray[np.float32], targets: list[NDArray[np.float32]]
) -> list[tuple[NDArray[np.float32], float]]:
    """All factors in one fit (one decomposition), each coordinate with its own strength -> (prediction, strength)."""
    from sklearn.linear_model import RidgeCV

    y = np.concatenate(targets, axis=1).astype(np.float64)
    scale = np.maximum(y.std(axis=0), 1e-12)
    model = RidgeCV(alphas=ALPHAS, alpha_per_target=True).fit(x, y / scale)
    guess = np.asarray(model.predict(x_test)).reshape(len(x_test), -1) * scale
    alphas = np.atleast_1d(model.alpha_)
    edges = np.cumsum([0, *(t.shape[1] for t in targets)])
    return [
        (guess[:, a:b], float(np.exp(np.log(alphas[a:b]).mean()))) for a, b in zip(edges[:-1], edges[1:], strict=True)
    ]


def _categories(
    factor: Factor,
    train: tuple[NDArray[np.float32], NDArray[np.int64]],
    val: tuple[NDArray[np.float32], NDArray[np.int64]],
    test: tuple[NDArray[np.float32], NDArray[np.int64]],
    near: NDArray[np.int64],
) -> FactorReading:
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    (x, y), (x_val, y_val), (x_test, y_test) = ((z[v >= 0], v[v >= 0]) for z, v in (train, val, test))
    if len(np.unique(y)) < 2 or not len(y_val) or not len(y_test):
        return FactorReading(
            factor.name, factor.group, categorical=True, n_train=len(y), n_test=len(y_test), linear=None, knn=None
        )
    majority = float((y_test == np.bincount(y).argmax()).mean())
    best: tuple[float, float, bool, float] | None = None  # accuracy on val, C, converged, accuracy on test
    model = LogisticRegression(max_iter=_MAX_ITER, tol=_TOLERANCE, warm_start=True)
    for penalty in PENALTIES:
        model.set_params(C=penalty)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(x, y)
        accuracy = float((model.predict(x_val) == y_val).mean())
        if best is None or accuracy > best[0]:
            right = float((model.predict(x_test) == y_test).mean())
            best = accuracy, penalty, bool(model.n_iter_.max() < _MAX_ITER), right
        else:
            break
    assert best is not None
    by_neighbors = float((_vote(train[1][near[test[1] >= 0]]) == y_test).mean())

    def skill(accuracy: float) -> float | None:
        return (accuracy - majority) / (1 - majority) if majority < 1 else None

    _, penalty, converged, linear = best
    return FactorReading(
        factor.name,
        factor.group,
        categorical=True,
        n_train=len(y),
        n_test=len(y_test),
        linear=skill(linear),
        knn=skill(by_neighbors),
        linear_accuracy=linear,
        knn_accuracy=by_neighbors,
        majority=majority,
        strength=penalty,
        converged=converged,
    )


def _vote(near: NDArray[np.int64]) -> NDArray[np.int64]:
    """The most frequent known category of each row (M, k); ties go to the smallest number, -1 where none is known."""
    counts = np.zeros((len(near), int(near.max(initial=0)) + 1), dtype=np.int64)
    for column in near.T:
        known = column >= 0
        np.add.at(counts, (np.flatnonzero(known), column[known]), 1)
    winner: NDArray[np.int64] = np.where(counts.any(axis=1), counts.argmax(axis=1), -1)
    return winner
