"""The report: its numbers are those of results.json, hostile names are inert, nothing is fetched."""

from __future__ import annotations

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nearkin.errors import DataError
from nearkin.report import build
from nearkin.report.embed import png_uri
from nearkin.report.pointmaps import point_maps
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


def test_n_seeds_and_what_was_chosen_stand_beside_the_numbers(made: tuple[dict[str, Any], str]) -> None:
    results, html = made
    text = " ".join(Page(html).text)
    assert "n = 30 test images. Intervals: Wilson 95% over images (1 seed)." in text
    layer = results["runs"][0]["evaluation"]["layers"]["pixels"]
    assert f"C {layer['linear']['C']:.3g}" in text and f"k {layer['knn']['k']}" in text


def test_a_dark_page_prints_on_white(made: tuple[dict[str, Any], str]) -> None:
    """The rule for paper must be as specific as those for dark screens, and come after them."""
    style = re.search(r"<style>(.*?)</style>", made[1], re.S)
    assert style is not None
    css, paper = style.group(1).split("@media print", 1)
    dark = re.findall(r"(:root[^{},]*)\{--bg:#14161a", css)
    assert len(dark) == 2 and all(f"{rule}" in paper.split("{--bg:#fff", 1)[0] for rule in dark)


def test_nothing_is_fetched(made: tuple[dict[str, Any], str]) -> None:
    page = Page(made[1])
    for name, value in page.attributes:
        if name in ("src", "href", "action", "srcset", "poster"):
            assert value is not None and (value.startswith("data:") or value.startswith("#")), (name, value)
    assert "link" not in page.tags and "iframe" not in page.tags
    assert not re.search(r"url\(|@import|https?://(?!www\.w3\.org)", made[1])


def payload_of(html: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="report-data">(.*?)</script>', html, re.S)
    assert found is not None
    out: dict[str, Any] = json.loads(found.group(1))
    return out


def test_maps_of_the_same_images_share_ids_and_labels(made: tuple[dict[str, Any], str]) -> None:
    payload = payload_of(made[1])
    drawn = [item for item in payload["maps"] if item["key"]]  # maps coloured by cluster bring their own labels
    assert len(drawn) == 4  # two methods, PCA and t-SNE
    (key,) = {item["key"] for item in drawn}
    assert len(payload["ids"][key]) == 30 and len(base64.b64decode(payload["labels"][key])) == 2 * 30
    assert all(len(base64.b64decode(item["xy"])) == 4 * 30 for item in payload["maps"])


def test_variants_of_a_method_have_no_maps(made: tuple[dict[str, Any], str]) -> None:
    run = made[0]["runs"][0]
    assert point_maps(Path("nowhere"), [run | {"method": "pca@components=4"}])[0] == []
    assert point_maps(Path("nowhere"), [run])[0] != []


def test_pictures_are_no_larger_than_they_are_shown() -> None:
    for side, expected in ((32, 32), (224, 96)):
        image = np.random.default_rng(0).integers(0, 256, (3, side, side), dtype=np.uint8)
        data = base64.b64decode(png_uri(image).partition(",")[2])
        assert Image.open(io.BytesIO(data)).size == (expected, expected)


def test_size(made: tuple[dict[str, Any], str]) -> None:
    assert len(made[1]) < 1_000_000


def test_hostile_names_are_inert(tmp_path: Path) -> None:
    study(tmp_path / "a", name=HOSTILE)
    html = build(tmp_path / "a" / "out").read_text(encoding="utf-8")
    page = Page(html)
    assert "<script>alert" not in html
    assert page.tags.count("script") == 2  # the data and the page's own
    assert not any(name.startswith("on") for name, _ in page.attributes)
    assert HOSTILE in payload_of(html)["classes"]


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
