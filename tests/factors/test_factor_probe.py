"""The factor probe: planted linear and non-linear codes read as they should be, against scikit-learn, test read once."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import r2_score
from sklearn.neighbors import KNeighborsRegressor
from sklearn.preprocessing import StandardScaler

from nearkin.errors import ConfigError, DataError
from nearkin.factors.factor_probe import ALPHAS, factor_probe, r_squared
from nearkin.factors.factors import Factor, class_factor
from nearkin.fileio import to_json

RNG = np.random.default_rng(0)
N = 600
SPLIT = np.array(["train"] * 300 + ["val"] * 100 + ["test"] * 200)
TRAIN, VAL, TEST = (name == SPLIT for name in ("train", "val", "test"))
Z = RNG.normal(size=(N, 10)).astype(np.float32)
LINEAR = Factor("linear", "colour", (Z[:, :2] @ RNG.normal(size=(2, 3)) * 5 + 7).astype(np.float32))
NOISE = Factor("noise", "other", RNG.normal(size=(N, 1)).astype(np.float32))
LABELS = (Z[:, :3] + 0.3 * RNG.normal(size=(N, 3))).argmax(axis=1)


def test_planted_codes() -> None:
    found = factor_probe(Z, SPLIT, [class_factor(LABELS), LINEAR, NOISE])
    rows = {row.factor: row for row in found.rows}
    assert rows["linear"].linear is not None and rows["linear"].linear > 0.999
    assert rows["noise"].linear is not None and abs(rows["noise"].linear) < 0.1
    assert rows["class"].linear is not None and rows["class"].linear > 0.7 and rows["class"].converged
    assert (rows["linear"].n_train, rows["linear"].n_test) == (300, 200)
    json.dumps(to_json(found), allow_nan=False)


def test_a_circle_is_read_by_neighbours_not_linearly() -> None:
    angle = RNG.uniform(0, 2 * np.pi, N)
    circle = np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)
    wave = Factor("wave", "other", np.cos(4 * angle)[:, None].astype(np.float32))
    row = factor_probe(circle, SPLIT, [wave]).rows[0]
    assert row.linear is not None and row.linear < 0.1 and row.knn is not None and row.knn > 0.8


def test_ridge_is_scikit_learns() -> None:
    target = Factor("t", "other", (LINEAR.values[:, :1] + 8 * NOISE.values))
    row = factor_probe(Z, SPLIT, [target]).rows[0]
    scaler = StandardScaler().fit(Z[TRAIN])
    assert row.strength in [pytest.approx(alpha) for alpha in ALPHAS]
    model = Ridge(alpha=row.strength).fit(scaler.transform(Z[TRAIN]), target.values[TRAIN])
    theirs = r2_score(target.values[TEST], model.predict(scaler.transform(Z[TEST])))
    assert row.linear == pytest.approx(theirs, abs=1e-4)


def test_neighbours_are_scikit_learns() -> None:
    model = KNeighborsRegressor(10, metric="cosine").fit(Z[TRAIN], LINEAR.values[TRAIN])
    theirs = r2_score(LINEAR.values[TEST], model.predict(Z[TEST]), multioutput="variance_weighted")
    assert factor_probe(Z, SPLIT, [LINEAR], k=10).rows[0].knn == pytest.approx(theirs, abs=1e-5)


def test_categories_are_scikit_learns() -> None:
    row = factor_probe(Z, SPLIT, [class_factor(LABELS)]).rows[0]
    scaler = StandardScaler().fit(Z[TRAIN])
    model = LogisticRegression(C=row.strength, tol=1e-6).fit(scaler.transform(Z[TRAIN]), LABELS[TRAIN])
    assert row.linear_accuracy == pytest.approx(model.score(scaler.transform(Z[TEST]), LABELS[TEST]), abs=0.011)
    majority = (LABELS[TEST] == np.bincount(LABELS[TRAIN]).argmax()).mean()
    assert row.majority == pytest.approx(majority)
    assert row.linear == pytest.approx((row.linear_accuracy - majority) / (1 - majority))  # type: ignore[operator]


def test_test_rows_change_no_choice() -> None:
    other = Z.copy()
    other[TEST] = RNG.normal(size=(200, 10))
    a, b = (factor_probe(z, SPLIT, [class_factor(LABELS), LINEAR, NOISE]).rows for z in (Z, other))
    assert [row.strength for row in a] == [row.strength for row in b]
    assert b[1].linear is not None and b[1].linear < 0


def test_unknown_categories_are_left_out() -> None:
    labels = LABELS.copy()
    labels[::4] = -1
    row = factor_probe(Z, SPLIT, [class_factor(labels)]).rows[0]
    assert row.n_train == (labels[TRAIN] >= 0).sum() and row.n_test == (labels[TEST] >= 0).sum()
    assert row.linear is not None and row.linear > 0.6


def test_factors_that_do_not_vary_cannot_be_read() -> None:
    same = [
        Factor("a", "other", np.zeros(N, dtype=np.int64)),
        Factor("b", "other", np.full((N, 1), 0.3, dtype=np.float32)),
    ]
    for row in factor_probe(Z, SPLIT, same).rows:
        assert row.linear is None and row.knn is None


def test_a_collapsed_embedding_reads_nothing_and_does_not_crash() -> None:
    found = factor_probe(np.full((N, 4), 0.1, dtype=np.float32), SPLIT, [class_factor(LABELS), LINEAR])
    for row in found.rows:
        assert row.linear is not None and row.linear < 0.01
    json.dumps(to_json(found), allow_nan=False)


def test_refusals() -> None:
    with pytest.raises(DataError, match="split 'val'; there are 0"):
        factor_probe(Z[~VAL], SPLIT[~VAL], [])
    broken = Z.copy()
    broken[0, 0] = np.inf
    with pytest.raises(DataError, match="not finite"):
        factor_probe(broken, SPLIT, [NOISE])
    with pytest.raises(ConfigError, match="k is 0"):
        factor_probe(Z, SPLIT, [NOISE], k=0)


def test_r_squared() -> None:
    truth, guess = RNG.normal(size=(50, 3)), RNG.normal(size=(50, 3))
    assert r_squared(truth, guess) == pytest.approx(r2_score(truth, guess, multioutput="variance_weighted"))
    assert r_squared(np.ones((5, 1)), np.zeros((5, 1))) is None
