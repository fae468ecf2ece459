"""What the answers conclude, on made-up runs whose right conclusion is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from nearkin.evaluate.stats import paired_difference
from nearkin.study.answers import (
    MethodScore,
    RunResult,
    ablations,
    above,
    answers,
    clusteredness,
    eigenmaps,
    gap,
    latent_codes,
    losses,
    mean_score,
    neighbours,
    two_by_two,
)
from nearkin.study.results import MethodRow, SeedMean, verdict
from tests.study import made
from tests.study.made import layer


def run(method: str, accuracy: float, seed: int = 0, primary: str = "z", **extra: Any) -> RunResult:
    """A run with a title in capitals, whose primary layer has that accuracy, silhouette and purity."""
    numbers = {k: extra.pop(k) for k in ("silhouette", "purity", "knn") if k in extra}
    layers = {primary: layer(accuracy, std=0.7, rank=40.0, map_purity=0.4, **numbers)} | extra.pop("layers", {})
    return made.run(method, layers, seed=seed, title=method.upper(), primary=primary, **extra)


def test_mean_and_interval_over_seeds_or_images() -> None:
    one = mean_score([run("a", 0.5)], "a")
    assert one is not None and one.interval == pytest.approx((0.49, 0.51)) and one.n_seeds == 1
    three = mean_score([run("a", v, seed) for seed, v in enumerate((0.4, 0.5, 0.6))], "a")
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert three is not None and three.interval == pytest.approx((0.5 - half, 0.5 + half)) and three.n_seeds == 3
    assert mean_score([run("a", 0.5)], "b") is None and mean_score([run("a", 0.5)], "a", "no such layer") is None


def test_gap_says_whether_intervals_overlap() -> None:
    a, b, c = (
        MethodScore("a", "A", "z", m, (m - 0.02, m + 0.02), 1, {"0": m}, (m - 0.02, m + 0.02)) for m in (0.5, 0.53, 0.6)
    )
    assert gap(b, a) == "+3.0 points (intervals overlap)"
    assert gap(a, c) == "−10.0 points (intervals apart)"


def over_seeds(method: str, values: dict[int, float]) -> MethodScore:
    score = mean_score([run(method, value, seed) for seed, value in values.items()], method)
    assert score is not None
    return score


def test_gap_pairs_seeds_where_both_have_several() -> None:
    """Seeds differ by ten points, the methods by about one in each seed: over pairs that is certain, by intervals it is not."""
    a = over_seeds("a", {0: 0.5, 1: 0.6, 2: 0.7})
    b = over_seeds("b", {0: 0.509, 1: 0.61, 2: 0.711})
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert above(b, a) and not above(a, b) and not above(a, a)
    assert gap(b, a) == f"+1.0 points [+{1 - half:.1f}, +{1 + half:.1f}]"
    b = over_seeds("b", {0: 0.51, 1: 0.61, 2: 0.75})
    half = stats.t.ppf(0.975, 2) * np.std([1, 1, 5], ddof=1) / np.sqrt(3)
    assert gap(b, a) == f"+2.3 points [−{half - 7 / 3:.1f}, +{half + 7 / 3:.1f}]" and not above(b, a)
    one = over_seeds("c", {0: 0.8})
    assert gap(one, a).endswith("(intervals overlap)")  # a's interval over three seeds is wide


def test_the_same_difference_in_every_seed_is_not_taken_for_certainty() -> None:
    """Without a spread a t interval is a point, which would call any difference real; the choice of images is still left."""
    a, b, c = (over_seeds(name, {0: 0.5 + more, 1: 0.6 + more}) for name, more in (("a", 0), ("b", 0.01), ("c", 0.3)))
    assert paired_difference([0.5, 0.6], [0.51, 0.61]).p is None
    assert not above(b, a) and not above(a, b) and above(c, a) and not above(a, c)
    assert gap(b, a) == "+1.0 points (the same in every seed; intervals over images overlap)"
    assert gap(c, a) == "+30.0 points (the same in every seed; intervals over images apart)"


def test_a_method_without_seeds_stands_for_every_seed_as_in_compare() -> None:
    codes, pixels = over_seeds("lo", {0: 0.50, 1: 0.51, 2: 0.52}), over_seeds("raw-pixels", {0: 0.48})
    assert codes.interval[0] < pixels.interval[1]  # the intervals overlap
    half = stats.t.ppf(0.975, 2) / np.sqrt(3)
    assert gap(codes, pixels) == f"+3.0 points [+{3 - half:.1f}, +{3 + half:.1f}]" and above(codes, pixels)
    assert gap(pixels, codes).startswith("−3.0 points [") and not above(pixels, codes)
    seeded = over_seeds("vicreg", {0: 0.48})
    assert gap(codes, seeded) == "+3.0 points (intervals overlap)" and not above(codes, seeded)


def test_ablation_names_the_term_that_matters_most_and_the_grid() -> None:
    runs = [run("vicreg", 0.7), run("vicreg-novar", 0.2), run("vicreg-noinv", 0.4), run("vicreg-nocov", 0.65)]
    found = ablations([*runs, run("vicreg@invariance_weight=5", 0.68), run("vicreg@lr=1", 0.1)])
    assert (
        found is not None
        and "between 68.0 and 68.0 %; better than the preset's beyond chance, each taken by itself: none."
        in found.statement
    )
    assert "least do without here is variance" in found.statement
    assert len(found.rows) == 5 and ablations(runs[:1]) is None
    better = ablations([*runs, run("vicreg@invariance_weight=5", 0.75)])
    assert better is not None and "each taken by itself: VICREG@INVARIANCE_WEIGHT=5." in better.statement


def test_no_term_is_named_that_the_numbers_do_not_name() -> None:
    close = ablations([run("vicreg", 0.7), run("vicreg-novar", 0.3), run("vicreg-noinv", 0.31)])
    assert (
        close is not None
        and "Which term it can least do without is not decided: variance against invariance −1.0 points"
        in close.statement
    )
    harmless = ablations([run("vicreg", 0.7), run("vicreg-novar", 0.69), run("vicreg-noinv", 0.71)])
    assert harmless is not None and "Leaving out one of them costs nothing beyond chance." in harmless.statement
    alone = ablations([run("vicreg", 0.7), run("vicreg-novar", 0.3)])
    assert alone is not None and alone.statement.endswith("without variance 30.0 % (−40.0 points (intervals apart)).")


def test_two_by_two_takes_means_of_differences() -> None:
    codes = {"layers": {"codes": layer(0.3)}}
    runs = [run("vicreg", 0.7), run("ngn", 0.6), run("lo", 0.9, **codes), run("free-codes", 0.4)]
    found = two_by_two(runs)
    assert found is not None
    text = found.statement
    assert "worth +40.0 points over a code per image; with neighbours +20.0; on average +30.0" in text
    assert "+10.0 points over neighbours for the encoder and −10.0 for codes; on average" in text
    assert text.endswith("On average the encoder is worth more.")
    assert two_by_two(runs[:3]) is None


def test_neighbours_report_purity_beside_accuracy() -> None:
    runs = [run("vicreg", 0.7), run("ngn", 0.5, neighbor_purity=0.6), run("ngn-oracle", 0.8, neighbor_purity=1.0)]
    found = neighbours([*runs, run("ngn-augmented", 0.65)])
    assert found is not None
    assert "60.0 % of its neighbours" in found.statement and "+30.0 points" in found.statement
    assert [row.get("purity") for row in found.rows] == [None, 0.6, 1.0, None]


@pytest.mark.parametrize(
    ("scores", "said"),
    [
        (
            {"ngn-filtered": 0.6},
            "wrong neighbours account for 10.0 points (intervals apart) of its distance to VICReg, and 10.0 points (intervals apart) remain",
        ),
        ({"ngn-filtered": 0.69}, "of its distance to VICReg, and no more remains beyond chance."),
        ({"ngn-filtered": 0.51}, "So purer neighbours that look alike do not help beyond chance."),
        ({"ngn-oracle": 0.3}, "So purity alone hurts: positives have to look alike, too."),
        ({"ngn-oracle": 0.6}, "So purity alone helps."),
        ({"ngn-oracle": 0.51}, "So purity alone changes nothing beyond chance."),
        ({"ngn-augmented": 0.6}, "So augmentations added back help."),
        ({"ngn-augmented": 0.4}, "So augmentations added back hurt."),
        ({"ngn-augmented": 0.51}, "So augmentations added back change nothing beyond chance."),
        ({"vicreg": 0.51, "ngn-filtered": 0.6}, "So whether it falls short at all is not decided."),
    ],
)
def test_why_ngn_falls_short_follows_from_the_numbers(scores: dict[str, float], said: str) -> None:
    found = neighbours([run(name, value) for name, value in ({"vicreg": 0.7, "ngn": 0.5} | scores).items()])
    assert found is not None and said in found.statement


def test_codes_read_the_training_codes_std() -> None:
    made = [run("lo", 0.3, primary="codes", layers={"distilled": layer(0.45)}), run("lo-naive", 0.1, primary="codes")]
    found = latent_codes(made)
    assert found is not None and "45.0 %" in found.statement and "std is 0.90" in found.statement
    assert "free code per view reads 10.0 %" in found.statement


def codes_run(method: str, linear: float, near: float, *, std: float, **terms: float) -> RunResult:
    return run(method, linear, primary="codes", knn=near, training={"loss": 1.0, "projector_std": std} | terms)


def test_what_is_said_of_codes_follows_from_the_terms() -> None:
    shared = codes_run("lo", 0.36, 0.36, std=1.5, variance=0.0)
    naive = codes_run("lo-naive", 0.33, 0.38, std=0.9, variance=0.07, invariance=0.81)
    found = latent_codes([shared, naive, run("raw-pixels", 0.39)])
    assert found is not None
    text = found.statement
    assert "The variance term is 0 at the end" in text
    assert "To a linear rule its codes hold less than raw pixels (−3.0 points (intervals apart))." in text
    assert "−3.0 points (intervals apart) against a shared one, and +2.0 points (intervals overlap) in kNN" in text
    assert "stay 50 % as far apart" in text  # .81 of 2 x .9^2
    other = latent_codes([codes_run("lo", 0.5, 0.4, std=0.5, variance=0.4), run("raw-pixels", 0.39)])
    assert other is not None and "The variance term is still 0.4 at the end." in other.statement
    assert "its codes hold more than raw pixels" in other.statement


def test_codes_over_batch_sizes_for_both_forms() -> None:
    """The grid of the full preset has variants only for the naive form."""
    made = [
        run(f"{form}@batch_size={size}", accuracy, primary="codes", config={"batch_size": size}, seed=seed)
        for form, accuracy in (("lo", 0.3), ("lo-naive", 0.1))
        for size in (64, 512)
        for seed in (0, 1)
    ]
    found = latent_codes(made)
    assert found is not None
    assert "By batch size, a code per image: 64: std 0.90 [0.90, 0.90], 30.0 % [30.0, 30.0]; 512:" in found.statement
    assert "a code per view: 64: std 0.90 [0.90, 0.90], 10.0 %" in found.statement and len(found.rows) == 4


def test_two_by_two_has_its_spread_over_seeds() -> None:
    def four(seed: int, more: float) -> list[RunResult]:
        codes = {"layers": {"codes": layer(0.3)}}
        cells = [run("vicreg", 0.7 + more, seed), run("ngn", 0.6, seed), run("lo", 0.9, seed, **codes)]
        return [*cells, run("free-codes", 0.4, seed)]

    one, three = two_by_two(four(0, 0.0)), two_by_two([*four(0, 0.0), *four(1, 0.02), *four(2, 0.04)])
    assert one is not None and three is not None
    assert "on average +30.0. Augmentations" in one.statement
    assert three.statement.endswith("On average the encoder is worth more.")
    unclear = two_by_two([*four(0, 0.0), *(r for r in four(1, 0.0) if r.method != "ngn"), run("ngn", 0.05, 1)])
    assert unclear is not None and unclear.statement.endswith(
        "Which of the two is worth more on average is not decided."
    )
    half = 100 * stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3)  # effects .30, .31, .32
    assert f"on average +31.0 [+{31 - half:.1f}, +{31 + half:.1f}]" in three.statement


def test_ngn_variants_and_the_graphs_of_eigenmaps_are_told() -> None:
    runs = [run("vicreg", 0.7), run("ngn", 0.5), run("ngn@refresh_epochs=3", 0.45, neighbor_purity=0.3)]
    found = neighbours(runs)
    assert found is not None and "NGN@REFRESH_EPOCHS=3: −5.0 points" in found.statement
    assert found.rows[-1]["purity"] == 0.3
    told = eigenmaps([run("vicreg", 0.7), run("le-pixels", 0.3, graph="the neighbour graph had 3 components; joined")])
    assert told is not None and "LE-PIXELS s0: the neighbour graph had 3 components; joined." in told.statement
    alone = eigenmaps([run("le-pixels", 0.3, graph="the neighbour graph had 3 components; joined")])
    assert alone is not None and alone.statement.startswith("LE-PIXELS 30.0 %. LE-PIXELS s0: the neighbour graph had 3")


@pytest.mark.parametrize(
    ("score", "said"), [(0.6, "hold less than"), (0.8, "hold more than"), (0.69, "is not decided")]
)
def test_whether_the_graph_is_enough_follows_from_the_numbers(score: float, said: str) -> None:
    found = eigenmaps([run("vicreg", 0.7), run("le-vicreg", score)])
    assert found is not None and said in found.statement


def test_losses_stand_beside_each_other_with_their_spread() -> None:
    def epochs(seed: int, last: float) -> RunResult:
        end = {"loss": last, "invariance": 0.2, "variance": 0.1, "covariance": 3.0}
        return run("vicreg", 0.7, seed, losses={"first": {"loss": 9.0}, "train": end, "test": end | {"loss": last + 1}})

    one = losses([epochs(0, 4.0), run("ngn", 0.5)])  # NGN here has none
    assert one is not None and "NGN" not in one.statement
    assert (
        "(one seed): the loss falls from 9 in the first epoch to 4 in the last; on test images it is 5."
        in one.statement
    )
    two = losses([epochs(0, 4.0), epochs(1, 5.0)])
    half = stats.t.ppf(0.975, 1) * 0.5
    assert two is not None and f"to 4.5 [{4.5 - half:.3g}, {4.5 + half:.3g}] in the last" in two.statement
    assert "covariance 3 [3, 3] on train" in two.statement
    assert losses([run("vicreg", 0.7, losses=None)]) is None


def test_titles_with_commas_stay_apart_in_the_order() -> None:
    def row(title: str, mean: float, baseline: bool = False) -> MethodRow:
        cell = SeedMean(mean, None, None, 1)
        return MethodRow(title, False, title, not baseline, baseline, False, "z", 8, {"linear": cell})

    table = [row("A", 0.5), row("A, no variance", 0.2), row("B, cosine", 0.4), row("C", 0.3), row("raw", 0.35, True)]
    data = {"classes": ["a", "b"], "skipped": []}
    texts = [item.text for item in verdict([], table, data)]
    assert any("A 50.0; B, cosine 40.0; C 30.0; A, no variance 20.0." in text for text in texts)
    assert "Not better than the best baseline (raw): C; A, no variance." in texts


def test_clusteredness_finds_the_number_that_predicts() -> None:
    rng = np.random.default_rng(1)
    runs = [
        run(f"vicreg@lr={k}", a, silhouette=float(rng.uniform(0, 0.3)), purity=a - 0.1)
        for k, a in enumerate(np.linspace(0.2, 0.7, 12).tolist())
    ]
    found = clusteredness(runs)
    assert found is not None and "neighbour purity goes best" in found.statement
    row = next(r for r in found.correlations if r["predictor"] == "neighbour purity" and r["scope"] == "all methods")
    assert row["rho"] == pytest.approx(1) and row["n"] == 12
    assert clusteredness(runs[:4]) is None


def test_losses_of_other_weights_are_not_compared() -> None:
    same = [
        run("vicreg", a, seed, training={"loss": 1 - a}, config={"invariance_weight": 10.0})
        for seed, a in enumerate((0.3, 0.4, 0.5, 0.6, 0.7))
    ]
    other = run("vicreg@invariance_weight=50", 0.2, training={"loss": 0.0}, config={"invariance_weight": "50"})
    views = run("vicreg-4views", 0.1, training={"loss": 0.0}, config={"invariance_weight": 10.0})
    found = clusteredness([*same, other, views])
    assert found is not None
    row = next(r for r in found.correlations if r["predictor"] == "final training loss")
    assert row["n"] == 5 and row["rho"] == pytest.approx(-1)


def test_eigenmaps_and_missing_runs() -> None:
    found = eigenmaps([run("vicreg", 0.7), run("le-pixels", 0.3)])
    assert found is not None and "LE-PIXELS 30.0 % (−40.0 points" in found.statement
    assert answers([run("raw-pixels", 0.3)]) == []
