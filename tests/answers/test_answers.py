"""What the answers conclude, on made-up runs whose right conclusion is known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from nearkin.answers import answers, verdict
from nearkin.answers.ablations import ablations
from nearkin.answers.clusteredness import clusteredness, spearman
from nearkin.answers.codes import latent_codes
from nearkin.answers.common import gap, mean_cell
from nearkin.answers.eigenmaps import eigenmaps
from nearkin.answers.losses import losses
from nearkin.answers.neighbours import neighbours
from nearkin.answers.two_by_two import two_by_two


def layer(accuracy: float, silhouette: float = 0.1, purity: float = 0.5) -> dict[str, Any]:
    return {
        "health": {"std_mean": 0.7, "rankme": 40.0, "uniformity": -2.0},
        "linear": {"accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01]},
        "entanglement": {"purity": purity},
        "clusters": {"silhouette": silhouette, "class_silhouette": 0.05},
        "maps": {"tsne": {"purity": 0.4}},
    }


def run(method: str, accuracy: float, seed: int = 0, primary: str = "z", **extra: Any) -> dict[str, Any]:
    numbers = {k: extra.pop(k) for k in ("silhouette", "purity") if k in extra}
    layers = {primary: layer(accuracy, **numbers)} | extra.pop("layers", {})
    return {
        "method": method,
        "title": method.upper(),
        "seed": seed,
        "config": {"batch_size": 256},
        "training": {"loss": 1.0, "projector_std": 0.9, "alignment": 0.5},
        "neighbor_purity": None,
        "evaluation": {"primary_layer": primary, "layers": layers},
    } | extra


def test_mean_and_interval_over_seeds_or_images() -> None:
    one = mean_cell([run("a", 0.5)], "a")
    assert one is not None and one["interval"] == pytest.approx([0.49, 0.51]) and one["n_seeds"] == 1
    three = mean_cell([run("a", v, seed) for seed, v in enumerate((0.4, 0.5, 0.6))], "a")
    half = stats.t.ppf(0.975, 2) * 0.1 / np.sqrt(3)
    assert three is not None and three["interval"] == pytest.approx([0.5 - half, 0.5 + half]) and three["n_seeds"] == 3
    assert mean_cell([run("a", 0.5)], "b") is None and mean_cell([run("a", 0.5)], "a", "no such layer") is None


def test_gap_says_whether_intervals_overlap() -> None:
    a, b, c = ({"mean": m, "interval": [m - 0.02, m + 0.02]} for m in (0.5, 0.53, 0.6))
    assert gap(b, a) == "+3.0 points (intervals overlap)"
    assert gap(a, c) == "−10.0 points (intervals apart)"


def test_ablation_names_the_term_that_matters_most_and_the_grid() -> None:
    runs = [run("vicreg", 0.7), run("vicreg-novar", 0.2), run("vicreg-noinv", 0.4), run("vicreg-nocov", 0.65)]
    found = ablations([*runs, run("vicreg@invariance_weight=5", 0.68), run("vicreg@lr=1", 0.1)])
    assert found is not None and found["statement"].endswith("between 68.0 and 68.0 %.")
    assert "least do without here is variance" in found["statement"]
    assert len(found["rows"]) == 5 and ablations(runs[:1]) is None


def test_two_by_two_takes_means_of_differences() -> None:
    codes = {"layers": {"codes": layer(0.3)}}
    runs = [run("vicreg", 0.7), run("ngn", 0.6), run("lo", 0.9, **codes), run("free-codes", 0.4)]
    found = two_by_two(runs)
    assert found is not None
    text = found["statement"]
    assert "worth +40.0 points over a code per image; with neighbours +20.0; on average +30.0" in text
    assert "+10.0 points over neighbours for the encoder and −10.0 for codes; on average" in text
    assert two_by_two(runs[:3]) is None


def test_neighbours_report_purity_beside_accuracy() -> None:
    runs = [run("vicreg", 0.7), run("ngn", 0.5, neighbor_purity=0.6), run("ngn-oracle", 0.8, neighbor_purity=1.0)]
    found = neighbours([*runs, run("ngn-augmented", 0.65)])
    assert found is not None
    assert "60.0 % of its neighbours" in found["statement"] and "+30.0 points" in found["statement"]
    assert [row.get("purity") for row in found["rows"]] == [None, 0.6, 1.0, None]


def test_codes_read_the_training_codes_std() -> None:
    made = [run("lo", 0.3, primary="codes", layers={"distilled": layer(0.45)}), run("lo-naive", 0.1, primary="codes")]
    found = latent_codes(made)
    assert found is not None and "45.0 %" in found["statement"] and "std is 0.90" in found["statement"]
    assert "free code per view reads 10.0 %" in found["statement"]


def test_codes_over_batch_sizes_for_both_forms() -> None:
    """The grid of the full preset has variants only for the naive form."""
    made = [
        run(f"{form}@batch_size={size}", accuracy, primary="codes", config={"batch_size": size}) | {"seed": seed}
        for form, accuracy in (("lo", 0.3), ("lo-naive", 0.1))
        for size in (64, 512)
        for seed in (0, 1)
    ]
    found = latent_codes(made)
    assert found is not None
    assert "By batch size, a code per image: 64: std 0.90, 30.0 % [30.0, 30.0]; 512:" in found["statement"]
    assert "a code per view: 64: std 0.90, 10.0 %" in found["statement"] and len(found["rows"]) == 4


def test_two_by_two_has_its_spread_over_seeds() -> None:
    def four(seed: int, more: float) -> list[dict[str, Any]]:
        codes = {"layers": {"codes": layer(0.3)}}
        cells = [run("vicreg", 0.7 + more, seed), run("ngn", 0.6, seed), run("lo", 0.9, seed, **codes)]
        return [*cells, run("free-codes", 0.4, seed)]

    one, three = two_by_two(four(0, 0.0)), two_by_two([*four(0, 0.0), *four(1, 0.02), *four(2, 0.04)])
    assert one is not None and three is not None
    assert "on average +30.0 (one seed, so no interval)" in one["statement"]
    half = 100 * stats.t.ppf(0.975, 2) * 0.01 / np.sqrt(3)  # effects .30, .31, .32
    assert f"on average +31.0 [+{31 - half:.1f}, +{31 + half:.1f}]" in three["statement"]


def test_ngn_variants_and_the_graphs_of_eigenmaps_are_told() -> None:
    runs = [run("vicreg", 0.7), run("ngn", 0.5), run("ngn@refresh_epochs=3", 0.45, neighbor_purity=0.3)]
    found = neighbours(runs)
    assert found is not None and "NGN@REFRESH_EPOCHS=3: −5.0 points" in found["statement"]
    assert found["rows"][-1]["purity"] == 0.3
    told = eigenmaps([run("vicreg", 0.7), run("le-pixels", 0.3, graph="the neighbour graph had 3 components; joined")])
    assert told is not None and "LE-PIXELS s0: the neighbour graph had 3 components; joined." in told["statement"]


def test_losses_stand_beside_each_other_with_their_spread() -> None:
    def made(seed: int, last: float) -> dict[str, Any]:
        end = {"loss": last, "invariance": 0.2, "variance": 0.1, "covariance": 3.0}
        return run("vicreg", 0.7, seed, losses={"first": {"loss": 9.0}, "train": end, "test": end | {"loss": last + 1}})

    one = losses([made(0, 4.0), run("ngn", 0.5)])  # NGN here has none
    assert one is not None and "NGN" not in one["statement"]
    assert (
        "(one seed): the loss falls from 9 in the first epoch to 4 in the last; on test images it is 5."
        in one["statement"]
    )
    two = losses([made(0, 4.0), made(1, 5.0)])
    half = stats.t.ppf(0.975, 1) * 0.5
    assert two is not None and f"to 4.5 [{4.5 - half:.3g}, {4.5 + half:.3g}] in the last" in two["statement"]
    assert "covariance 3 [3, 3] on train" in two["statement"]
    assert losses([run("vicreg", 0.7, losses=None)]) is None


def test_titles_with_commas_stay_apart_in_the_order() -> None:
    def row(title: str, mean: float, baseline: bool = False) -> dict[str, Any]:
        flags = {"baseline": baseline, "uses_labels": False, "layer": "z", "dim": 8, "method": title}
        return flags | {"title": title, "linear": {"mean": mean}}

    table = [row("A", 0.5), row("A, no variance", 0.2), row("B, cosine", 0.4), row("C", 0.3), row("raw", 0.35, True)]
    data = {"classes": ["a", "b"], "skipped": []}
    texts = [item["text"] for item in verdict([], table, data)]
    assert any("A 50.0; B, cosine 40.0; C 30.0; A, no variance 20.0." in text for text in texts)
    assert "Not better than the best baseline (raw): C; A, no variance." in texts


def test_rank_correlation_and_its_bootstrap() -> None:
    rng = np.random.default_rng(0)
    x = rng.normal(size=40)
    rho, low, high = spearman(x, x + 0.1 * rng.normal(size=40))
    assert low < rho <= high and low > 0.9
    _, low, high = spearman(x, rng.normal(size=40))
    assert low < 0 < high


def test_clusteredness_finds_the_number_that_predicts() -> None:
    rng = np.random.default_rng(1)
    runs = [
        run(f"vicreg@lr={k}", a, silhouette=float(rng.uniform(0, 0.3)), purity=a - 0.1)
        for k, a in enumerate(np.linspace(0.2, 0.7, 12).tolist())
    ]
    found = clusteredness(runs)
    assert found is not None and "neighbour purity goes best" in found["statement"]
    row = next(r for r in found["correlations"] if r["predictor"] == "neighbour purity" and r["scope"] == "all methods")
    assert row["rho"] == pytest.approx(1) and row["n"] == 12
    assert clusteredness(runs[:4]) is None


def test_losses_of_other_weights_are_not_compared() -> None:
    same = [
        run("vicreg", a, seed, training={"loss": 1 - a}, config={"invariance_weight": 10.0})
        for seed, a in enumerate((0.3, 0.4, 0.5, 0.6, 0.7))
    ]
    other = run("vicreg@invariance_weight=50", 0.2, training={"loss": 0.0}, config={"invariance_weight": "50"})
    found = clusteredness([*same, other])
    assert found is not None
    row = next(r for r in found["correlations"] if r["predictor"] == "final training loss")
    assert row["n"] == 5 and row["rho"] == pytest.approx(-1)


def test_eigenmaps_and_missing_runs() -> None:
    found = eigenmaps([run("vicreg", 0.7), run("le-pixels", 0.3)])
    assert found is not None and "LE-PIXELS 30.0 % (−40.0 points" in found["statement"]
    assert answers([run("raw-pixels", 0.3)]) == []
