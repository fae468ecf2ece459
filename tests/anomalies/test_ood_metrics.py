"""AUROC, AUPR, FPR@95 against scikit-learn, brute force and simulation."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.metrics import auc, average_precision_score, roc_auc_score

from nearkin.anomalies.ood_metrics import detect, thin
from nearkin.errors import DataError
from nearkin.evaluate.stats import DELONG, EXACT, auroc


def scores(n: int, m: int, gap: float = 1.0, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    rng = np.random.default_rng(seed)
    return np.round(rng.normal(size=n), 1), np.round(rng.normal(gap, 1.3, m), 1)  # rounded: with ties


def test_figures_equal_scikit_learn_and_brute_force() -> None:
    inside, outside = scores(400, 150)
    found = detect(inside, outside)
    y, s = np.repeat([0, 1], [400, 150]), np.concatenate([inside, outside])
    pairs = (outside[:, None] > inside).mean() + 0.5 * (outside[:, None] == inside).mean()
    assert found.auroc.value == pytest.approx(pairs) == pytest.approx(roc_auc_score(y, s))
    assert found.aupr_out == pytest.approx(average_precision_score(y, s))
    assert found.aupr_in == pytest.approx(average_precision_score(1 - y, -s))
    # FPR@95 by definition: the highest threshold that at least 95 % of the OOD images reach.
    threshold = max(t for t in np.unique(s) if (outside >= t).mean() >= 0.95)
    assert found.fpr95 == pytest.approx((inside >= threshold).mean())


def test_delong_interval_equals_the_plain_formula() -> None:
    inside, outside = scores(90, 60)
    wins = (outside[:, None] > inside) + 0.5 * (outside[:, None] == inside)
    variance = wins.mean(axis=1).var(ddof=1) / 60 + wins.mean(axis=0).var(ddof=1) / 90
    found = auroc(inside, outside)
    half = 1.959964 * np.sqrt(variance)
    assert found.interval == pytest.approx((wins.mean() - half, wins.mean() + half)) and found.interval_kind == DELONG


def test_interval_covers_the_truth_about_95_times_in_100() -> None:
    from scipy.stats import norm

    truth = norm.cdf(1 / np.sqrt(2))
    rng = np.random.default_rng(1)
    hits = sum(
        low <= truth <= high
        for low, high in (auroc(rng.normal(size=80), rng.normal(1, 1, 80)).interval for _ in range(500))
    )
    assert 0.92 < hits / 500 < 0.98


def test_perfect_separation_claims_no_certainty() -> None:
    found = auroc(np.arange(100.0), np.arange(200.0, 250.0))
    assert found.value == 1 and found.interval_kind == EXACT
    assert found.interval[0] == pytest.approx(0.025 ** (1 / 50)) and found.interval[1] == 1
    back = auroc(np.arange(200.0, 250.0), np.arange(100.0))
    assert back.value == 0 and back.interval == pytest.approx((0, 1 - 0.025 ** (1 / 50)))


def test_equal_scores_say_nothing() -> None:
    found = detect(np.zeros(30), np.zeros(20))
    assert found.auroc.value == 0.5 and found.auroc.interval == (0.5, 0.5) and found.fpr95 == 1
    assert found.hist_in.sum() == 30 and found.hist_out.sum() == 20


def test_curves_are_thin_and_keep_the_area() -> None:
    rng = np.random.default_rng(0)
    inside, outside = rng.normal(size=5000), rng.normal(1, 1.3, 3000)
    found = detect(inside, outside)
    for curve in (found.roc, found.pr_in, found.pr_out):
        assert len(curve) <= 103 and curve.min() >= 0 and curve.max() <= 1
    assert auc(*found.roc.T) == pytest.approx(found.auroc.value, abs=2e-3)
    assert auc(*found.pr_out[np.argsort(found.pr_out[:, 0], kind="stable")].T) == pytest.approx(
        found.aupr_out, abs=0.01
    )
    assert found.roc[0].tolist() == [0, 0] and found.roc[-1].tolist() == [1, 1]
    assert len(thin(np.arange(5.0), np.arange(5.0))) == 5


def test_extremes_and_json() -> None:
    inside, outside = np.array([0.0, 5, 1, 2, 3, 1, 1, 1]), np.array([9.0, -3, 4])
    found = detect(inside, outside)
    assert found.most[:3] == (("out", 0, 9.0), ("in", 1, 5.0), ("out", 2, 4.0)) and len(found.most) == 7
    assert found.least[0] == ("out", 1, -3.0)
    out = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert {"AUROC", "AUPR_IN", "AUPR_OUT", "FPR@95", "interval", "roc", "histogram", "most"} <= set(out)
    assert sum(out["histogram"]["in"]) == 8 and "roc" not in found.to_dict(curves=False)


def test_one_image_each_and_bad_input() -> None:
    assert detect(np.zeros(1), np.ones(1)).auroc.interval == pytest.approx((0.025, 1.0))
    mixed = auroc(np.array([0.0]), np.array([0.0, 1.0]))
    assert 0 <= mixed.interval[0] <= mixed.value <= mixed.interval[1] <= 1
    with pytest.raises(DataError, match="out-of-distribution scores have shape"):
        detect(np.zeros(3), np.zeros(0))
    with pytest.raises(DataError, match="not finite"):
        detect(np.array([np.nan]), np.zeros(2))
