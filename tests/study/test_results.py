"""What results.json concludes from runs, on made-up runs whose right conclusion is known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from nearkin.study.answers import RunResult, without_variance
from nearkin.study.results import _intervals, _protocol, over_seeds, verdict
from tests.study import made
from tests.study.made import layer, score


def run(method: str, seed: int = 0, trained: bool = True, state: str = "healthy", **numbers: Any) -> RunResult:
    diagnosis = {"state": state, "message": "m"} if trained else None
    return made.run(method, {"z": layer(**numbers)}, seed=seed, trained=trained, diagnosis=diagnosis)


DATA = {"classes": ["a", "b"], "skipped": [], "subset": None}


def test_table_over_seeds_has_a_t_interval() -> None:
    row = over_seeds([run("vicreg", s, accuracy=a) for s, a in enumerate((0.70, 0.72, 0.74))])[0]
    assert row.linear is not None and row.linear.mean == pytest.approx(0.72) and row.linear.n_seeds == 3
    assert row.linear.interval == pytest.approx((0.72 - 0.0497, 0.72 + 0.0497), abs=1e-3)
    assert "seeds" in str(row.linear.interval_kind)
    single = over_seeds([run("vicreg")])[0]
    assert single.linear is not None and "images" in str(single.linear.interval_kind) and single.linear.n_seeds == 1


def test_what_the_accuracies_stand_on_is_named() -> None:
    runs = [run("vicreg", s, accuracy=a) for s, a in enumerate((0.70, 0.72, 0.74))] + [run("pca", trained=False)]
    text = _intervals(over_seeds(runs))
    assert text == "n = 1,000 test images. Intervals: Wilson 95% over images (1 seed); t 95% over seeds (3 seeds)."
    assert _intervals(over_seeds([run("vicreg", accuracy=None)])) == ""


def test_a_probe_that_did_not_converge_is_named_whichever_run_it_is() -> None:
    data = {"study_splits": {"train": 8, "val": 2, "test": 2}}
    runs = []
    for name, converged in (("vicreg", True), ("pca", False)):
        told = "a protocol (converged)" if converged else "a protocol (NOT converged)"
        probes = {probe: score(0.6, told) for probe in ("linear_sgd", "knn")}
        probed = replace(layer(), linear=score(0.6, told, converged=converged), **probes)
        runs.append(made.run(name, {"z": probed}, trained=converged))
    lines = _protocol(data, runs)
    assert lines[-1].endswith("NOT converge on: pca s0 (z).") and "linear: a protocol (converged)." in lines
    assert not any("NOT" in line for line in _protocol(data, runs[:1]))


@pytest.mark.parametrize(("silhouette", "word"), [(0.8, "Yes"), (0.02, "No")])
def test_compactness_is_the_clusters_and_apart_from_the_classes(silhouette: float, word: str) -> None:
    full = run("vicreg", map_purity=0.4)
    text = without_variance([full, run("vicreg-novar", map_purity=0.4, silhouette=silhouette)])[
        "Is its map more compact?"
    ].statement
    assert text.startswith(f"{word}: its k-means clusters have silhouette {silhouette:.3f}, with the term 0.100")
    # Collapsed to fewer than two clusters.
    assert "Is its map more compact?" not in without_variance(
        [full, run("vicreg-novar", map_purity=0.4, silhouette=None)]
    )


def test_verdict_compares_with_the_best_baseline() -> None:
    runs = [
        run("vicreg", accuracy=0.6),
        run("pca", trained=False, accuracy=0.4),
        run("raw", trained=False, accuracy=0.3),
    ]
    first = verdict(runs, over_seeds(runs), DATA)[0]
    assert first.level == "good" and "+20.0 points" in first.text and "pca" in first.text
    runs[0] = run("vicreg", accuracy=0.35)
    first = verdict(runs, over_seeds(runs), DATA)[0]
    assert first.level == "bad" and "−5.0 points" in first.text


def test_many_methods_are_put_in_order_and_the_weak_are_named() -> None:
    scores = {"vicreg": 0.6, "ngn": 0.5, "lo": 0.3, "byol": 0.61, "supervised": 0.8}
    runs = [run(name, accuracy=a) for name, a in scores.items()] + [run("pca", trained=False, accuracy=0.4)]
    texts = [v.text for v in verdict(runs, over_seeds(runs), DATA)]
    assert texts[0].startswith("vicreg: 60.0 %")
    assert "supervised 80.0; byol 61.0; vicreg 60.0; ngn 50.0; lo 30.0" in texts[1]
    assert texts[2].endswith("(pca): lo.")


def test_variants_of_a_setting_are_left_to_theover_seeds() -> None:
    scores = {"vicreg": 0.6, "ngn": 0.5, "lo": 0.3, "byol": 0.61, "vicreg@lr=1": 0.2}
    runs = [run(name, accuracy=a) for name, a in scores.items()] + [run("pca", trained=False, accuracy=0.4)]
    texts = [v.text for v in verdict(runs, over_seeds(runs), DATA)]
    assert not any("lr=1" in text for text in texts)
    assert "Intervals and variants of a setting are in the table." in texts[1]
    alone = [run(f"vicreg@lr={k}", accuracy=0.3 + k / 10) for k in range(5)]
    told = verdict(alone, over_seeds(alone), DATA)[1].text
    assert "vicreg@lr=4 70.0; vicreg@lr=3 60.0" in told and told.endswith(" Intervals are in the table.")


def test_a_variant_is_one_only_beside_its_method() -> None:
    rows = over_seeds([run("vicreg"), run("vicreg@lr=1"), run("ngn@lr=1")])
    assert [row.variant for row in rows] == [False, True, False]


def test_seeds_with_the_same_trouble_share_a_line() -> None:
    runs = [run("vicreg", seed=seed, state=state) for seed, state in enumerate(("collapsing", "healthy", "collapsing"))]
    runs.append(run("ngn", seed=0, state="collapsing"))
    found = [v.text for v in verdict(runs, over_seeds(runs), DATA) if "collapsing" in v.text]
    assert [text.partition(":")[0] for text in found] == ["vicreg (seeds 0, 2; figures of seed 0)", "ngn (seed 0)"]


def test_verdict_warns() -> None:
    runs = [run("vicreg", state="collapsing")]
    texts = [v.text for v in verdict(runs, over_seeds(runs), DATA | {"subset": 100})]
    assert any("collapsing" in t for t in texts) and any("One seed" in t for t in texts)
    runs = [run("vicreg", state="too short")]  # a caveat, no failure
    assert [v.level for v in verdict(runs, over_seeds(runs), DATA) if "too short" in v.text] == ["warn"]
    assert any("subset of 100" in t for t in texts) and any("No baseline" in t for t in texts)
    runs = [run("vicreg", accuracy=None)]
    texts = [v.text for v in verdict(runs, over_seeds(runs), DATA | {"classes": []})]
    assert any("no labels" in t for t in texts)


@pytest.mark.parametrize(
    ("without", "collapses", "scale_only"),
    [
        ({"std": 0.01, "rank": 5.0, "sgd": 0.1, "standard": 0.45}, "Yes", True),
        ({"std": 0.01, "rank": 5.0, "sgd": 0.1, "standard": 0.12}, "Yes", False),
        ({"std": 0.9, "rank": 45.0, "sgd": 0.5, "standard": 0.5}, "No", False),
    ],
)
def test_ablation_tells_scale_from_information(without: dict[str, float], collapses: str, scale_only: bool) -> None:
    out = without_variance([run("vicreg"), run("vicreg-novar", **without)])
    assert out["Does it collapse without the variance term?"].statement.startswith(collapses)
    text = out["Is information lost, or only scale?"].statement
    if collapses == "Yes":
        assert ("Most of the loss is scale" in text) == scale_only
    else:
        assert "no loss" in text.lower()


def test_ablation_names_the_layer_that_collapses() -> None:
    full, without = (
        made.run(name, {"z": layer(), "projector": layer(std=std)})
        for name, std in (("vicreg", 1.0), ("vicreg-novar", 0.01))
    )
    text = without_variance([full, without])["Does it collapse without the variance term?"].statement
    assert text.startswith("Yes, on 'projector'") and "Not on 'z'" in text


def test_no_ablation_without_both_runs() -> None:
    assert without_variance([run("vicreg")]) == {}
