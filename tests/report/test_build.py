"""The report: its numbers are those of results.json, hostile names are inert, nothing is fetched."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.report import build
from nearkin.study import StudyConfig, run_study

HOSTILE = "<script>alert(1)</script>\"'&\n\x1b[31m</table>"


def study(folder: Path, *, labelled: bool = True, name: str = "cat") -> dict[str, Any]:
    """A study of baselines on random images: seconds, no training."""
    rng = np.random.default_rng(0)
    n = 60
    arrays: dict[str, Any] = {"x_train": rng.integers(0, 256, (n, 8, 8, 3), dtype=np.uint8)}
    arrays["x_test"] = rng.integers(0, 256, (30, 8, 8, 3), dtype=np.uint8)
    if labelled:
        arrays |= {"y_train": np.array([name, "dog"] * 30), "y_test": np.array([name, "dog"] * 15)}
    folder.mkdir()
    np.savez(folder / "set.npz", **arrays)
    config = StudyConfig(
        str(folder / "set.npz"), "quick", ("raw-pixels", "pca"), (0,), command=f"nearkin study '{name}'"
    )
    return run_study(config, folder / "out", progress=False, say=lambda text: None)


class Page(HTMLParser):
    """Collects tags, attributes and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text.append(data)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    folder = tmp_path_factory.mktemp("report") / "a"
    results = study(folder)
    return results, build(folder / "out").read_text(encoding="utf-8")


def test_numbers_are_those_of_the_results(made: tuple[dict[str, Any], str]) -> None:
    results, html = made
    for row in results["table"]:
        for key in ("linear", "linear_sgd", "knn"):
            assert f"{100 * row[key]['mean']:.2f}" in html
    assert results["data"]["fingerprint"] in html and "raw pixels" in html


def test_protocol_layer_and_command_stand_there(made: tuple[dict[str, Any], str]) -> None:
    results, html = made
    text = " ".join(Page(html).text)
    for line in results["protocol"]:
        assert line in text
    assert "nearkin study 'cat'" in text and "pixels" in text


def test_nothing_is_fetched(made: tuple[dict[str, Any], str]) -> None:
    page = Page(made[1])
    for name, value in page.attributes:
        if name in ("src", "href", "action", "srcset", "poster"):
            assert value is not None and (value.startswith("data:") or value.startswith("#")), (name, value)
    assert "link" not in page.tags and "iframe" not in page.tags
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", made[1])


def test_size(made: tuple[dict[str, Any], str]) -> None:
    assert len(made[1]) < 1_000_000


def test_hostile_names_are_inert(tmp_path: Path) -> None:
    study(tmp_path / "a", name=HOSTILE)
    html = build(tmp_path / "a" / "out").read_text(encoding="utf-8")
    page = Page(html)
    assert "<script>alert" not in html
    assert page.tags.count("script") == 2  # the data and the page's own
    assert not any(name.startswith("on") for name, _ in page.attributes)
    payload = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', html, re.S)
    assert payload is not None and HOSTILE in json.loads(payload.group(1))["classes"]


def test_without_labels_it_says_what_labels_would_add(tmp_path: Path) -> None:
    study(tmp_path / "a", labelled=False)
    html = build(tmp_path / "a" / "out").read_text(encoding="utf-8")
    assert "no labels" in html and "--labels" in html and "linear probe %" not in html.replace("<br>", " ")


def test_missing_parts_are_no_crash(tmp_path: Path) -> None:
    study(tmp_path / "a")
    out = tmp_path / "a" / "out"
    (out / "thumbnails.npz").unlink()
    for file in out.glob("runs/*/maps.npz"):
        file.unlink()
    assert "coordinates are missing" in build(out, tmp_path / "r.html").read_text(encoding="utf-8")


def test_no_study_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"results\.json"):
        build(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(DataError, match="damaged"):
        build(tmp_path)
