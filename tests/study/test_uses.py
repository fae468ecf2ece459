"""The uses inside a study: planted copies and foreign images are found, the report shows them, a second start reuses them."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from nearkin.anomalies import study_step as anomalies
from nearkin.anomalies.detectors import score_sets
from nearkin.anomalies.ood_metrics import ood_metrics
from nearkin.data import load
from nearkin.duplicates import study_step as copies
from nearkin.embeddings import Embeddings
from nearkin.embeddings.table import COLUMNS, add_columns, read_table
from nearkin.factors.factor_study import study_factors
from nearkin.report import build
from nearkin.runs.run import Run, Study
from nearkin.search import knn_cache as remembered
from nearkin.search.exact import knn
from nearkin.study.study import StudyConfig, run_study

build_module = importlib.import_module("nearkin.report.build")  # the package has a function of that name


def textured(rng: np.random.Generator, n: int, y: np.ndarray) -> np.ndarray:
    """Smooth random images (n, 24, 24, 3), class 1 brighter: structure that a copy shares and a stranger does not."""
    coarse = rng.uniform(0, 150, (n, 6, 6, 3)) + 90 * y[:, None, None, None]
    return np.kron(coarse, np.ones((1, 4, 4, 1))).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module", autouse=True)
def _random_nets_for_trained_ones() -> Iterator[None]:
    """What a study does for VICReg and NGN only, done for random encoders: no training, and two seeds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(anomalies, "_MAPPED", ("random-init",))
        patch.setattr(copies, "_PREFERRED", ("random-init",))
        patch.setattr(build_module, "_SHOWN_USES", ("random-init", "raw-pixels"))
        yield


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, StudyConfig, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("uses")
    rng = np.random.default_rng(0)
    y_train, y_test = np.arange(240) % 2, np.arange(80) % 2
    x_train, x_test = textured(rng, 240, y_train), textured(rng, 80, y_test)
    x_test[3] = x_train[3]  # one exact copy across
    np.savez(folder / "set.npz", x_train=x_train, x_test=x_test, y_train=y_train, y_test=y_test)
    np.savez(
        folder / "odd.npz",
        x_train=np.zeros((30, 24, 24, 3), np.uint8) + np.arange(30, dtype=np.uint8)[:, None, None, None],
    )
    np.savez(folder / "kin.npz", x_train=textured(rng, 40, np.arange(40) % 2))  # of the same kind: hard to tell apart
    config = StudyConfig(
        str(folder / "set.npz"), "quick", ("raw-pixels", "pca", "random-init"), (0, 1), {"encoder": "fast-tiny"},
        ood=(str(folder / "odd.npz"), str(folder / "kin.npz")), command="nearkin study",
    )  # fmt: skip
    return folder, config, run_study(config, folder / "out", progress=False, say=lambda text: None)


def test_every_method_is_searched_and_judged(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    uses = made[2]["uses"]
    assert {item["method"] for item in uses["neighbours"]} == {"raw-pixels", "pca", "random-init"}
    for item in uses["neighbours"]:
        assert len(item["retrieval"]["answers"]) == 2  # a query per class
        assert all(len(a["nearest"]) == len(a["farthest"]) == 5 for a in item["retrieval"]["answers"])
        assert 0 <= item["precision"]["overall"]["precision"] <= 1
        assert {"brightness", "class"} <= {row["factor"] for row in item["factors"]["factors"]}


def test_foreign_images_are_told_apart(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    rows = made[2]["uses"]["anomalies"]["rows"]
    found = {(r["method"], r["score"]): r["AUROC"] for r in rows if r["set"] == "odd"}
    assert found["raw-pixels", "knn2"] > 0.9
    assert any(r["kind"] == "trivial" for r in rows)


def test_sets_are_near_or_far_by_what_needs_no_learning(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    found = made[2]["uses"]["anomalies"]
    kinds = {item["name"]: (item["of"], item["kind"]) for item in found["sets"]}
    assert kinds["odd"] == ("odd", "far") and kinds["kin"] == ("kin", "near") and kinds["odd-padded"][0] == "odd"
    best = {
        name: max(r["AUROC"] for r in found["rows"] if r["set"] == name and r["kind"] == "trivial") for name in kinds
    }
    assert {name for name, (_, kind) in kinds.items() if kind == "far"} == {n for n, v in best.items() if v >= 0.9}


def test_more_scores_for_the_methods_that_the_study_is_about(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    """The lists that the study keeps change nothing: LOF and the rest are what a plain search gives."""
    rows = made[2]["uses"]["anomalies"]["rows"]
    by_run: dict[tuple[str, Any], set[str]] = {}
    for row in rows:
        by_run.setdefault((row["method"], row["seed"]), set()).add(row["score"])
    assert {"lof", "iforest"} <= by_run["random-init", 0]
    assert not {"lof", "iforest"} & (by_run["random-init", 1] | by_run["pca", 0])
    run = made[0] / "out" / "runs" / "random-init-s0"
    saved = Embeddings.load(next((run / "embeddings").glob("backbone.parquet")))
    train, test = saved.part("train").Z, saved.part("test").Z
    out = Run(run).open()(load(str(made[0] / "kin.npz"), size=24).train.images)
    scored = score_sets(train, {"in": test, "out": out}, ["lof", "knn-norm"])
    for score, values in scored.items():
        (row,) = (r for r in rows if (r["method"], r["seed"], r["score"], r["set"]) == ("random-init", 0, score, "kin"))
        assert row["AUROC"] == pytest.approx(ood_metrics(values["in"], values["out"]).auroc.value, abs=1e-3)


def test_every_use_adds_its_columns_to_one_table(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    uses, study = made[2]["uses"], made[0] / "out"
    assert set(uses["tables"]) == {"raw-pixels-s0", "pca-s0", "random-init-s0"}
    saved = Embeddings.load(study / "runs" / "raw-pixels-s0" / "embeddings" / "pixels.parquet")
    table = read_table(study / uses["tables"]["raw-pixels-s0"])
    assert tuple(table.column_names[: len(COLUMNS)]) == COLUMNS
    assert table.column("path").to_pylist() == saved.ids.tolist()
    test, train = np.flatnonzero(saved.split == "test"), np.flatnonzero(saved.split == "train")
    column = {name: table.column(name).to_pylist() for name in table.column_names}
    for name in ("x", "cluster", "anomaly_score", "hubness"):
        assert [k for k, value in enumerate(column[name]) if value is not None] == test.tolist()
    apart = np.linalg.norm(saved.Z[test][:, None] - saved.Z[train][None], axis=2)
    expected = np.sort(apart, axis=1)[:, :2].mean(axis=1)
    np.testing.assert_allclose([column["anomaly_score"][k] for k in test], expected, rtol=1e-3, atol=1e-3)
    near = knn(saved.Z[test], saved.Z[test], 10, exclude_self=True)
    for k, row in enumerate(test):
        assert column["neighbors"][row]["ids"] == test[near.indices[k]].tolist()
    sizes = {item["cluster"]: item["size"] for item in uses["clusters"][0]["kmeans"]["clusters"]}
    assert {c: column["cluster"].count(c) for c in sizes} == sizes
    sets = [value for value in column["near_duplicate_set"] if value >= 0]
    copies = [k for k, value in enumerate(column["near_duplicate_set"]) if value >= 0 and saved.split[k] == "test"]
    found = uses["duplicates"]
    assert len(copies) == 80 - found["left"] + sum(p["a"] != p["b"] for p in found["shown"]["within"]) and sets
    add_columns(study / uses["tables"]["raw-pixels-s0"], saved, {})  # a command's -o may go on with it


def test_neighbours_are_found_once(
    made: tuple[Path, StudyConfig, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a use asks of the vectors that another one has asked, lies in the run's folder."""
    run = next(r for r in Study(made[0] / "out").finished() if r.method == "raw-pixels")
    made_now = run.embeddings()
    test, train, val = (made_now.part(name).Z for name in ("test", "train", "val"))

    def refuse(*args: Any, **more: Any) -> None:
        raise AssertionError("searched again")

    monkeypatch.setattr(remembered, "knn", refuse)
    assert run.search(test, test, 79, exclude_self=True).indices.shape == (80, 79)  # evaluation, hubs, factors, table
    run.search(test, train, 50)  # the probe, duplicates, anomalies, table
    run.search(test, train, 20, metric="l2")  # anomalies, table
    run.search(val, train, 200)  # the probe


def test_neighbours_of_raw_pixels_are_found_by_l2(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    """The study's yardstick and ``nearkin factors`` say the same of the same images."""
    saved = Embeddings.load(made[0] / "out" / "runs" / "raw-pixels-s0" / "embeddings" / "pixels.parquet")
    images = np.rint(saved.Z.reshape(-1, 3, 24, 24) * 255).astype(np.uint8)
    expected = study_factors(saved, images, probe=False).raw_pixels
    assert expected is not None
    item = next(u for u in made[2]["uses"]["neighbours"] if u["method"] == "raw-pixels")
    found = {row["factor"]: row["value"] for row in item["factors"]["factors"]}
    assert found == pytest.approx({row.factor: row.value for row in expected.rows}, rel=1e-4)
    other = next(u for u in made[2]["uses"]["neighbours"] if u["method"] == "pca")
    assert "raw pixels (l2)" in other["factors"]["statement"] and "Against" not in item["factors"]["statement"]


def test_clusters_are_counted_and_stand_on_the_map(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    (item,) = made[2]["uses"]["clusters"]
    assert item["method"] == "raw-pixels" and item["kmeans"]["k"] == 2
    assert item["kmeans"]["accuracy"] > 0.9  # brightness is the class
    assert item["auto"]["k"] >= 2 and 0 <= item["hdbscan"]["noise"] <= 1
    assert len(item["map"]["assigned"]) == 80 and len(item["map"]["centres"]) == 2


def test_duplicates_and_their_reverse(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    found = made[2]["uses"]["duplicates"]
    assert found["across"]["exact_pairs"] == 1 and found["across"]["calibration"]["curve"]
    assert found["probe"]["n"] == found["left"] < 80
    assert "alike in pixels" in found["apart"]
    assert all(pair["pixels"] >= 0.9 and pair["rank"] >= 1 for pair in found["shown"]["apart"])


def test_seeds_curves_and_joint_maps(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    found = made[2]["uses"]["anomalies"]
    assert {row["seed"] for row in found["rows"] if row["method"] == "random-init"} == {0, 1}
    assert found["overlap"]["between"]["seeds"]["pairs"] == 3 and "seeds" in found["overlap"]["statement"]
    first, second = (found["details"][f"random-init-s{seed}"] for seed in (0, 1))
    assert first["ood"]["odd"]["knn-norm"]["roc"] and "roc" not in second["ood"]["odd"]["knn-norm"]
    assert first["map"]["names"] == ["test", "kin", "odd"] and "map" not in second


def test_report_shows_them(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    html = build(made[0] / "out").read_text(encoding="utf-8")
    for anchor in ("retrieval", "hubs", "alike", "clusters", "duplicates", "anomalies"):
        assert f'id="{anchor}"' in html and f'href="#{anchor}"' in html
    assert "raw pixels" in html and "held-out class" in html
    for text in ("One class alone", "Test and foreign images on one map", "histograms of the scores", "planted copies"):
        assert text in html
    assert "The reverse: alike in pixels" in html and "random encoder s1" in html
    maps = json.loads(html.split('id="report-data">')[1].split("</script>")[0])["maps"]
    shown = [int(number) for number in re.findall(r'<figure data-map="(\d+)"', html)]
    assert sorted(set(shown)) == list(range(len(maps)))
    named = [item["names"] for item in maps if "names" in item]
    assert ["test", "kin", "odd"] in named and ["cluster 0", "cluster 1"] in named
    assert [len(item["marks"]) for item in maps if "marks" in item] == [2]


def test_a_second_start_reuses_what_is_there(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    folder, config, first = made
    said: list[str] = []
    again = run_study(config, folder / "out", progress=False, say=said.append)
    assert not [line for line in said if line.startswith("  ")]
    assert json.dumps(again["uses"], sort_keys=True) == json.dumps(first["uses"], sort_keys=True)


def test_another_order_of_the_sets_is_the_same_study(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    folder, config, first = made
    said: list[str] = []
    swapped = replace(config, ood=config.ood[::-1])
    again = run_study(swapped, folder / "out", progress=False, say=said.append)["uses"]["anomalies"]
    assert not [line for line in said if line.startswith("  ")]
    assert [item["name"] for item in again["sets"]][0] == "kin"
    assert list(again["details"]["random-init-s0"]["ood"]) == [item["name"] for item in again["sets"]]
    key = ("method", "seed", "score", "set")
    before = {tuple(row[name] for name in key): row["AUROC"] for row in first["uses"]["anomalies"]["rows"]}
    assert {tuple(row[name] for name in key): row["AUROC"] for row in again["rows"]} == before


def test_one_set_of_an_older_study_can_be_followed_by_more(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    """Its study.json holds one name where now a list stands."""
    folder, config, _ = made
    path = folder / "out" / "study.json"
    old = json.loads(path.read_text())
    old["config"]["ood"] = str(folder / "odd.npz")
    path.write_text(json.dumps(old))
    found = run_study(replace(config, ood=config.ood[:1]), folder / "out", progress=False, say=lambda text: None)
    assert "kin" not in {row["set"] for row in found["uses"]["anomalies"]["rows"]}
    assert json.loads(path.read_text())["config"]["ood"] == [str(folder / "odd.npz")]
    build(folder / "out")


def test_without_foreign_images_the_classes_are_judged(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    folder, config, _ = made
    found = run_study(replace(config, ood=()), folder / "out", progress=False, say=lambda text: None)
    assert {row["set"] for row in found["uses"]["anomalies"]["rows"]} == {"held-out class", "one-class"}
    assert sum("cannot be decided" in text for text in found["uses"]["anomalies"]["verdict"]["text"]) == 1


def test_methods_without_an_encoder_are_not_asked_about_foreign_images() -> None:
    names = ("vicreg", "free-codes", "free-codes@code_lr=1", "lo")
    runs: list[Any] = [SimpleNamespace(method=name, image_size=lambda: 32) for name in names]
    assert [run.method for run in anomalies._judged(runs, runs, side=32)] == ["vicreg"]
    assert not anomalies._judged(runs, runs, side=16)  # resolution would be a shortcut
    assert len(anomalies._judged(runs, runs, side=None)) == 3
