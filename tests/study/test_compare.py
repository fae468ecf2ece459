"""Planted differences are found, absent ones are not, and what cannot be told is said."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.evaluate.stats import holm, mcnemar
from nearkin.fileio import to_json, write_json
from nearkin.study.compare import compare, load_sides, to_markdown
from nearkin.study.protocol import evaluate
from tests.cli.inprocess import invoke

N = {"train": 200, "val": 60, "test": 150}


def make_run(root: Path, method: str, seed: int, signal: float, *, ids: str = "x", noise: int | None = None) -> Path:
    """A finished run of ``method`` whose vectors show their class as clearly as ``signal`` says."""
    folder = root / f"{method}-s{seed}"
    rng = np.random.default_rng([7 if noise is None else noise, seed])
    total = sum(N.values())
    y = np.arange(total) % 3
    Z = (signal * np.eye(3, 6)[y] + rng.normal(size=(total, 6))).astype(np.float32)
    split = np.concatenate([np.full(n, name) for name, n in N.items()])
    made = Embeddings(Z, np.array([f"{ids}{i}" for i in range(total)]), y, split, ("a", "b", "c"))
    made.save(folder / "embeddings" / "backbone.parquet")
    found, _ = evaluate(made, seed=seed, maps=False)
    write_json(folder / "config.json", {"method": method, "seed": seed, "settings": {}})
    write_json(
        folder / "evaluation.json",
        {
            "method": method,
            "title": method,
            "seed": seed,
            "primary_layer": "backbone",
            "layers": {"backbone": to_json(found)},
        },
    )
    write_json(folder / "done.json", {"digest": ""})
    return folder


def by_metric(report: object, k: int = 0) -> dict[str, object]:
    return {d.metric: d for d in report.comparisons[k].differences}  # type: ignore[attr-defined]


def test_one_seed_is_paired_over_images(tmp_path: Path) -> None:
    a, b = make_run(tmp_path, "vicreg", 0, 2.0), make_run(tmp_path, "ngn", 0, 0.7, noise=1)
    report = compare(load_sides([a, b]))
    found = by_metric(report)
    linear = found["linear"]
    stated = [
        json.loads((p / "evaluation.json").read_text())["layers"]["backbone"]["linear"]["accuracy"] for p in (a, b)
    ]
    assert [linear.reference, linear.other] == stated and linear.difference == stated[1] - stated[0]
    assert linear.interval[0] < linear.difference < linear.interval[1] < 0 and linear.significant
    assert "McNemar" in linear.test and "150 test images" in linear.test
    assert found["rankme"].p is None and "one pair of runs" in found["rankme"].why_not
    assert report.tests == 4 and "another seed may say otherwise" in report.comparisons[0].sentence


def test_the_p_value_is_that_of_a_probe_by_scikit_learn(tmp_path: Path) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.preprocessing import StandardScaler

    folders = [make_run(tmp_path, "vicreg", 0, 1.0), make_run(tmp_path, "ngn", 0, 1.4, noise=1)]
    right = []
    for folder in folders:
        made = Embeddings.load(folder / "embeddings" / "backbone.parquet")
        stated = json.loads((folder / "evaluation.json").read_text())["layers"]["backbone"]["linear"]
        train, test = made.part("train"), made.part("test")
        scale = StandardScaler().fit(train.Z)
        probe = LogisticRegression(C=stated["C"], max_iter=5000, tol=1e-8).fit(scale.transform(train.Z), train.labels)
        right.append(probe.predict(scale.transform(test.Z)) == test.labels)
    found = by_metric(compare(load_sides(folders)))["linear"]
    assert found.p == pytest.approx(mcnemar(right[0], right[1]), rel=0.2)


def test_several_seeds_are_paired_over_seeds(tmp_path: Path) -> None:
    from scipy import stats

    paths = [
        make_run(tmp_path, m, s, v, noise=n) for m, v, n in (("vicreg", 1.6, 1), ("ngn", 1.0, 2)) for s in (0, 1, 2)
    ]
    report = compare(load_sides(paths))
    found = by_metric(report)["linear"]
    values = [
        json.loads((p / "evaluation.json").read_text())["layers"]["backbone"]["linear"]["accuracy"] for p in paths
    ]
    assert found.p == pytest.approx(stats.ttest_rel(values[3:], values[:3]).pvalue)
    assert found.test == "paired t over 3 seeds" and report.comparisons[0].seeds == (0, 1, 2)
    assert by_metric(report)["rankme"].p is not None


def test_a_method_without_seeds_stands_for_every_seed(tmp_path: Path) -> None:
    paths = [make_run(tmp_path, "vicreg", s, 1.6) for s in (0, 1, 2)] + [make_run(tmp_path, "pca", 0, 1.0)]
    assert by_metric(compare(load_sides(paths)))["linear"].test == "paired t over 3 seeds"


def test_no_shared_seed_cannot_be_told(tmp_path: Path) -> None:
    paths = [make_run(tmp_path, "vicreg", s, 1.6) for s in (0, 1)] + [make_run(tmp_path, "ngn", s, 1.0) for s in (2, 3)]
    report = compare(load_sides(paths))
    assert report.tests == 0 and all("none of them shared" in d.why_not for d in report.comparisons[0].differences)
    assert "cannot be told" in report.comparisons[0].sentence


def test_other_test_images_cannot_be_told(tmp_path: Path) -> None:
    report = compare(load_sides([make_run(tmp_path, "vicreg", 0, 1.6), make_run(tmp_path, "ngn", 0, 1.0, ids="other")]))
    assert all("not the same test images" in d.why_not for d in report.comparisons[0].differences)


def test_vectors_that_are_not_those_evaluated_are_refused(tmp_path: Path) -> None:
    a, b = make_run(tmp_path, "vicreg", 0, 1.6), make_run(tmp_path, "ngn", 0, 1.0, noise=1)
    path = b / "embeddings" / "backbone.parquet"
    made = Embeddings.load(path)
    Embeddings(-made.Z[::-1].copy(), made.ids, made.labels, made.split, made.classes).save(path)
    assert "made again" in by_metric(compare(load_sides([a, b])))["linear"].why_not
    path.write_bytes(b"no parquet")
    assert "no readable vectors" in by_metric(compare(load_sides([a, b])))["linear"].why_not


def test_equal_runs_differ_by_nothing_and_the_family_is_corrected(tmp_path: Path) -> None:
    paths = [make_run(tmp_path, m, 0, v, noise=n) for m, v, n in (("vicreg", 1.6, 1), ("ngn", 1.6, 1), ("lo", 1.2, 3))]
    report = compare(load_sides(paths))
    assert by_metric(report, 0)["linear"].p == 1.0 and not by_metric(report, 0)["linear"].significant
    every = [d for c in report.comparisons for d in c.differences if d.p is not None]
    assert [d.p_holm for d in every] == holm([d.p for d in every]) and report.tests == len(every) == 8
    text = to_markdown(report)
    assert "8 tests" in text and "Holm" in text and text.count("## ") == 2


def test_seeds_of_one_method_are_compared_when_nothing_else_is_given(tmp_path: Path) -> None:
    sides = load_sides([make_run(tmp_path, "vicreg", s, 1.0) for s in (0, 1)])
    assert [side.name for side in sides] == ["vicreg, seed 0", "vicreg, seed 1"]
    assert "McNemar" in by_metric(compare(sides))["linear"].test


def test_what_cannot_be_compared(tmp_path: Path) -> None:
    run = make_run(tmp_path, "vicreg", 0, 1.0)
    with pytest.raises(ConfigError, match="nothing to compare"):
        load_sides([run, run])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="neither a run nor a study"):
        load_sides([run, tmp_path / "empty"])
    (run / "evaluation.json").unlink()
    with pytest.raises(DataError, match="not finished"):
        load_sides([run, run])
    write_json(run / "config.json", {"method": "vicreg", "seed": 0, "settings": {}, "data": "shapes"})
    with pytest.raises(DataError, match="never evaluated"):
        load_sides([run, run])


def test_command(tmp_path: Path) -> None:
    a, b = make_run(tmp_path, "vicreg", 0, 2.0), make_run(tmp_path, "ngn", 0, 0.7, noise=1)
    text = invoke("compare", str(a), str(b), "-o", str(tmp_path / "c.md"), "--json", str(tmp_path / "c.json"))
    assert "ngn against vicreg: linear probe −" in text and "luck of training" in text
    assert (tmp_path / "c.md").read_text().startswith("# Comparison")
    assert json.loads((tmp_path / "c.json").read_text())["tests"] == 4
