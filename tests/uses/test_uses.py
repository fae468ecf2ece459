"""The uses inside a study: planted copies and foreign images are found, the report shows them, a second start reuses them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearkin.report import build
from nearkin.study import StudyConfig, run_study


def textured(rng: np.random.Generator, n: int, y: np.ndarray) -> np.ndarray:
    """Smooth random images (n, 24, 24, 3), class 1 brighter: structure that a copy shares and a stranger does not."""
    coarse = rng.uniform(0, 150, (n, 6, 6, 3)) + 90 * y[:, None, None, None]
    return np.kron(coarse, np.ones((1, 4, 4, 1))).clip(0, 255).astype(np.uint8)


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
        str(folder / "set.npz"), "quick", ("raw-pixels", "pca", "random-init"), (0,), {"encoder": "fast-tiny"},
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


def test_report_shows_them(made: tuple[Path, StudyConfig, dict[str, Any]]) -> None:
    html = build(made[0] / "out").read_text(encoding="utf-8")
    for anchor in ("retrieval", "hubs", "alike", "anomalies"):
        assert f'id="{anchor}"' in html and f'href="#{anchor}"' in html
    assert "raw pixels" in html and "held-out class" in html


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
