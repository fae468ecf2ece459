"""The uses inside a study: planted copies and foreign images are found, the report shows them, a second start reuses them."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearkin.analyze.factor_study import study_factors
from nearkin.embeddings import Embeddings
from nearkin.report import build
from nearkin.study import StudyConfig, run_study
from nearkin.uses import anomalies, copies

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
    config = StudyConfig(
        str(folder / "set.npz"), "quick", ("raw-pixels", "pca", "random-init"), (0, 1), {"encoder": "fast-tiny"},
        ood=str(folder / "odd.npz"), command="nearkin study",
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
    assert first["map"]["names"] == ["test", "odd"] and "map" not in second


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
    assert ["test", "odd"] in named and ["cluster 0", "cluster 1"] in named
    assert [len(item["marks"]) for item in maps if "marks" in item] == [2]


def test_a_second_start_reuses_what_is_there(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    folder, config, first = made
    said: list[str] = []
    again = run_study(config, folder / "out", progress=False, say=said.append)
    assert not [line for line in said if line.startswith("  ")]
    assert json.dumps(again["uses"], sort_keys=True) == json.dumps(first["uses"], sort_keys=True)


def test_without_foreign_images_the_classes_are_judged(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    folder, config, _ = made
    from dataclasses import replace

    found = run_study(replace(config, ood=None), folder / "out", progress=False, say=lambda text: None)
    assert {row["set"] for row in found["uses"]["anomalies"]["rows"]} == {"held-out class", "one-class"}
    assert sum("cannot be decided" in text for text in found["uses"]["anomalies"]["verdict"]["text"]) == 1
