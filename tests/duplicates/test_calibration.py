"""Calibration: known mixtures recovered, contamination kept out, degenerate input; decoys counted by hand, known tails."""

from __future__ import annotations

import json

import numpy as np
import pytest

from nearkin.duplicates.calibration import (
    Calibration,
    Decoys,
    PairFeatures,
    best_of_images,
    calibrate,
    lowest,
    power,
    precision,
)
from nearkin.fileio import to_json

RNG = np.random.default_rng(0)
KINDS = np.tile(["crop", "flip"], 200)


def features(rng: np.random.Generator, n: int, centre: float) -> PairFeatures:
    return PairFeatures(rng.normal(centre, 0.5, size=(n, 2)), np.ones(n, dtype=bool))


def run(
    duplicates: int, seed: int = 0, contaminated: int = 0, kind: np.ndarray = KINDS
) -> tuple[Calibration, PairFeatures]:
    """4,000 images in one candidate pair each, some of them duplicates; the same images in negative pairs."""
    rng = np.random.default_rng(seed)
    candidates = features(rng, 4000, 0)
    candidates.features[:duplicates] += 4
    negatives = features(rng, 4000, 0)
    negatives.features[:contaminated] += 4
    rows = np.stack([np.arange(4000), np.arange(4000) + 4000], axis=1)
    proposed = np.ones(len(kind), dtype=bool)
    made = calibrate(
        ("x", "y"),
        features(rng, len(kind), 4),
        kind,
        proposed,
        negatives,
        candidates,
        negative_rows=rows,
        candidate_rows=rows,
        within=False,
    )
    assert made is not None
    return made, candidates


def test_duplicates_are_told_from_the_rest() -> None:
    made, candidates = run(200)
    score = made.score(candidates)
    assert made.reached and (score[:200] >= made.threshold).all() and (score[200:] >= made.threshold).sum() <= 12
    report = to_json(made)
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
    assert made.negatives_left_out == pytest.approx(0.05, abs=0.01)
    over = made.score(candidates) >= made.threshold
    assert made.reached and over[:200].mean() > 0.97 and over[200:].sum() <= 12


def test_no_duplicates_none_reported() -> None:
    made, candidates = run(0)
    assert not made.reached and (made.score(candidates) >= made.threshold).sum() == 0


def test_scores_are_probabilities_at_equal_frequency() -> None:
    for item in run(200)[0].reliability:
        assert abs(item.mean_score - item.share_of_copies) < 0.25


def test_what_was_not_compared_scores_0_and_counts_as_missed() -> None:
    rng = np.random.default_rng(0)
    positives = PairFeatures(rng.normal(4, 0.5, (400, 2)), rng.random(400) > 0.25)
    rows = np.stack([np.arange(1000), np.arange(1000) + 1000], axis=1)
    proposed = rng.random(400) > 0.1
    made = calibrate(
        ("x", "y"),
        positives,
        KINDS,
        proposed,
        features(rng, 1000, 0),
        features(rng, 1000, 0),
        negative_rows=rows,
        candidate_rows=rows,
        within=True,
    )
    assert made is not None
    assert made.score(positives)[~positives.compared].max() == 0
    assert made.copies_not_compared == pytest.approx((~positives.compared).mean())
    assert made.copies_not_proposed == pytest.approx((~proposed).mean())
    assert made.curve[0].recall == pytest.approx((proposed & positives.compared).mean(), abs=0.07)


def test_too_few_copies_or_no_negatives() -> None:
    rng = np.random.default_rng(0)
    nothing = PairFeatures(np.zeros((0, 2)), np.zeros(0, dtype=bool))
    none = np.zeros((0, 2), dtype=np.int64)
    blind = PairFeatures(np.zeros((400, 2)), np.zeros(400, dtype=bool))
    proposed = np.ones(400, dtype=bool)
    candidates, rows = features(rng, 5, 0), np.arange(10).reshape(5, 2)
    assert (
        calibrate(
            ("x", "y"),
            blind,
            KINDS,
            proposed,
            nothing,
            candidates,
            negative_rows=none,
            candidate_rows=rows,
            within=True,
        )
        is None
    )
    made = calibrate(
        ("x", "y"),
        features(rng, 400, 4),
        KINDS,
        proposed,
        nothing,
        candidates,
        negative_rows=none,
        candidate_rows=rows,
        within=True,
    )
    assert made is not None and (made.score(candidates) < made.threshold).all()


def test_counted_shares() -> None:
    decoys = Decoys(np.array([-np.inf, 0.0, 1.0, 2.0]), 1.0)
    assert decoys.share(np.array([1.0, 9.0])).tolist() == pytest.approx([2.5 / 5, 0.5 / 5])
    assert Decoys(decoys.odds, 0.5).share(np.array(1.0)) == pytest.approx(np.sqrt(2.5 / 5))


@pytest.mark.parametrize("name", ["exponential", "normal"])
def test_the_smooth_tail_reaches_beyond_the_decoys(name: str) -> None:
    draw = getattr(RNG, name if name == "exponential" else "normal")
    small, large = Decoys(draw(size=5000), 1.0, smooth=True), draw(size=2_000_000)
    for share in (3e-3, 3e-4, 5e-5):
        at = float(np.quantile(large, 1 - share))
        assert share / 3 < small.share(np.array(at)) < share * 3
    at = np.sort(small.odds)[-40]
    assert small.share(at) >= 40 / 5000 - 1e-12


def test_power_recovers_a_lehmann_alternative() -> None:
    decoys = RNG.exponential(size=40_000)
    harder = decoys / 0.7  # P(x / 0.7 > t) = P(x > t) ** 0.7
    assert power(harder, decoys) == pytest.approx(0.7, abs=0.05)
    assert power(decoys, decoys) == pytest.approx(1, abs=0.02)
    assert power(decoys - 5, decoys) == 1 and power(decoys[:0], decoys) == 1 and power(decoys, decoys[:5]) == 1


def test_precision_counts_images_by_their_best_pair() -> None:
    asked = np.array([[0, 1], [0, 2], [3, 4]])
    np.testing.assert_array_equal(best_of_images(np.array([1.0, 3.0, -np.inf]), asked), [3, 1, 3, -np.inf, -np.inf])
    best = np.concatenate([np.full(90, 9.0), np.full(10, -9.0)])
    decoys = Decoys(np.repeat([-9.0, 9.0], [98, 1]), 1.0)
    assert precision(best, decoys, 300, np.array(5.0)) == pytest.approx(1 - 300 * 1.5 / 100 / 90)
    assert np.isnan(precision(best, decoys, 300, np.array(99.0)))


def test_the_threshold_keeps_its_promise() -> None:
    """Known truth: 100,000 chance pairs, 1,000 duplicates; the real precision is what was asked for."""
    chance, true = RNG.normal(size=100_000), RNG.normal(5, 1, size=1000)
    best = np.concatenate([chance, true])
    at, reached = lowest(best, Decoys(RNG.normal(size=20_000), 1.0, smooth=True), 101_000, 0.95, cut=8.0)
    assert reached
    right, wrong = (true >= at).sum(), (chance >= at).sum()
    assert right / (right + wrong) > 0.9 and right > 900
    assert lowest(chance, Decoys(RNG.normal(size=20_000), 1.0, smooth=True), 100_000, 0.95, cut=3.0) == (3.0, False)
    few = np.concatenate([chance[:2000], [8.0]])  # a single duplicate shows no precision, but few mistakes are expected
    decoys = Decoys(RNG.normal(size=20_000), 1.0, smooth=True)
    at, reached = lowest(few, decoys, 2000, 0.95, np.inf, start=2.0, allowed=0.5)
    assert not reached and 2000 * decoys.share(np.array(at)) <= 0.5 and 3 < at <= np.nextafter(8.0, 9)
