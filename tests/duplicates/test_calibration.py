"""Calibration: known mixtures recovered, contamination kept out, halves, degenerate input."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.duplicates.calibration import Calibration, Sample, calibrate

KINDS = np.tile(["crop", "flip"], 200)


def sample(rng: np.random.Generator, n: int, centre: float) -> Sample:
    return Sample(rng.normal(centre, 0.5, size=(n, 2)), np.ones(n, dtype=bool))


def run(duplicates: int, seed: int = 0, contaminated: int = 0, kind: np.ndarray = KINDS) -> tuple[Calibration, Sample]:
    """4,000 images in one candidate pair each, some of them duplicates; the same images in negative pairs."""
    rng = np.random.default_rng(seed)
    candidates = sample(rng, 4000, 0)
    candidates.features[:duplicates] += 4
    negatives = sample(rng, 4000, 0)
    negatives.features[:contaminated] += 4
    rows = np.stack([np.arange(4000), np.arange(4000) + 4000], axis=1)
    found = np.ones(len(kind), dtype=bool)
    made = calibrate(
        ("x", "y"), sample(rng, len(kind), 4), kind, found, negatives, candidates, (rows, rows), within=False
    )
    assert made is not None
    return made, candidates


def test_duplicates_are_told_from_the_rest() -> None:
    made, candidates = run(200)
    score = made.score(candidates)
    assert made.reached and (score[:200] >= made.threshold).all() and (score[200:] >= made.threshold).sum() <= 12
    report = made.to_dict()
    assert report["evaluation"]["recall_by_kind"] == {
        "crop": pytest.approx(1, abs=0.03),
        "flip": pytest.approx(1, abs=0.03),
    }
    assert report["evaluation"]["precision"] > 0.85
    curve = report["curve"]
    assert [p["recall"] for p in curve] == sorted((p["recall"] for p in curve), reverse=True)
    json.dumps(report, allow_nan=False)


def test_true_duplicates_among_the_negatives_do_not_spoil_the_threshold() -> None:
    """An image with many copies has copies beyond the k nearest, too; such images are left out."""
    made, candidates = run(200, contaminated=200)
    assert made.report["negatives_left_out"] == pytest.approx(0.05, abs=0.01)
    over = made.score(candidates) >= made.threshold
    assert made.reached and over[:200].mean() > 0.97 and over[200:].sum() <= 12


def test_no_duplicates_none_reported() -> None:
    made, candidates = run(0)
    assert not made.reached and (made.score(candidates) >= made.threshold).sum() == 0


def test_scores_are_probabilities_at_equal_frequency() -> None:
    for item in run(200)[0].report["reliability"]:
        assert abs(item["mean_score"] - item["share_of_copies"]) < 0.25


def test_what_was_not_compared_scores_0_and_counts_as_missed() -> None:
    rng = np.random.default_rng(0)
    positives = Sample(rng.normal(4, 0.5, (400, 2)), rng.random(400) > 0.25)
    rows = np.stack([np.arange(1000), np.arange(1000) + 1000], axis=1)
    found = rng.random(400) > 0.1
    made = calibrate(
        ("x", "y"), positives, KINDS, found, sample(rng, 1000, 0), sample(rng, 1000, 0), (rows, rows), within=True
    )
    assert made is not None
    assert made.score(positives)[~positives.compared].max() == 0
    assert made.report["copies_not_compared"] == pytest.approx((~positives.compared).mean())
    assert made.report["copies_not_proposed"] == pytest.approx((~found).mean())
    assert made.report["curve"][0]["recall"] == pytest.approx((found & positives.compared).mean(), abs=0.07)


def test_too_few_copies_or_no_negatives() -> None:
    rng = np.random.default_rng(0)
    nothing = Sample(np.zeros((0, 2)), np.zeros(0, dtype=bool))
    none = np.zeros((0, 2), dtype=np.int64)
    blind = Sample(np.zeros((400, 2)), np.zeros(400, dtype=bool))
    found = np.ones(400, dtype=bool)
    candidates, rows = sample(rng, 5, 0), np.arange(10).reshape(5, 2)
    assert calibrate(("x", "y"), blind, KINDS, found, nothing, candidates, (none, rows), within=True) is None
    made = calibrate(("x", "y"), sample(rng, 400, 4), KINDS, found, nothing, candidates, (none, rows), within=True)
    assert made is not None and (made.score(candidates) < made.threshold).all()
