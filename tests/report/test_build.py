"""The report: its numbers are those of results.json, hostile names are inert, nothing is fetched."""

from __future__ import annotations

import base64
import io
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nearkin.errors import DataError
from nearkin.format import PALETTE
from nearkin.report import build
from nearkin.report.build import point_maps, run_colours
from nearkin.report.embed import png_uri
from nearkin.study.study import StudyConfig, run_study

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


def test_what_comes_after_the_first_few_is_folded_away(
    tmp_path: Path, made: tuple[dict[str, Any], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "more methods</summary>" not in made[1]
    study(tmp_path / "a")
    for name in ("_SHOWN", "_TOLD"):
        monkeypatch.setattr(sys.modules["nearkin.report.build"], name, 1)
    html = build(tmp_path / "a" / "out").read_text(encoding="utf-8")
    folded = html.partition("<details><summary>1 more method</summary>")[2].partition("</details>")[0]
    assert "raw pixels" not in folded and "PCA" in folded and folded.count("<canvas") == 2
    assert "<summary>2 runs</summary>" in html and html.count("<details") == html.count("</details>")


def test_bars_are_sorted_and_leave_variants_to_the_table(tmp_path: Path) -> None:
    study(tmp_path / "a")
    path = tmp_path / "a" / "out" / "results.json"
    results = json.loads(path.read_text())
    row = results["table"][0]
    for name, mean, variant in (("low", 0.1, False), ("high", 0.9, False), ("other lr", 0.5, True)):
        results["table"].append(row | {"title": name, "variant": variant, "linear": row["linear"] | {"mean": mean}})
    path.write_text(json.dumps(results))
    html = build(tmp_path / "a" / "out").read_text(encoding="utf-8")
    bars = html.partition('<div class="bars">')[2].partition("Full width is 100")[0]
    names = re.findall('<div class="name">(.*?)</div>', bars)
    assert (names[0], names[-1], len(names)) == ("high", "low", 4) and "other lr" in html
    assert "Variants of a setting are in the table." in html


def test_many_trained_methods_are_folded_the_studys_own_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines on training, entangled classes, and a word on curves that are not drawn."""
    study(tmp_path / "a")
    out = tmp_path / "a" / "out"
    results = json.loads((out / "results.json").read_text())
    run = results["runs"][1] | {"trained": True, "epochs": 1, "seconds": 60.0}
    line = {"kind": "epoch", "split": "train", "epoch": 1, "seconds": 60.0, "loss": 1.0}
    for k in range(13):
        made = run | {"id": f"m{k}-s0", "method": f"m{k}", "title": f"method {k}", "of_study": k == 12}
        results["runs"].append(made)
        (out / "runs" / made["id"]).mkdir()
        (out / "runs" / made["id"] / "metrics.jsonl").write_text(json.dumps(line) + "\n")
    (out / "results.json").write_text(json.dumps(results))
    for name in ("_SHOWN", "_TOLD"):
        monkeypatch.setattr(sys.modules["nearkin.report.build"], name, 2)
    html = build(out).read_text(encoding="utf-8")
    assert html.count("<details") == html.count("</details>")
    told = html.partition('<h2 id="training">')[2].partition('<div class="legend')[0]
    assert re.findall("<b>(.*?)</b>", told.partition("<details>")[0]) == ["method 0", "method 1"]
    assert "<summary>11 more runs</summary>" in told
    mixed = html.partition('<h2 id="entanglement">')[2].partition("<h2")[0]
    assert re.findall(r"<h3>(.*?) <span", mixed.partition("<details>")[0]) == ["method 12", "method 0"]
    assert "<summary>11 more methods</summary>" in mixed
    legend = html.partition('<div class="legend small">')[2].partition("</div>")[0]
    assert "method 12" in legend and "method 10" not in legend
    assert "curves of the other methods: runs/*/metrics.jsonl" in legend


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


def test_no_two_curves_share_a_colour_and_variants_come_last() -> None:
    names = [f"m{k}" for k in range(15)]
    runs = [{"title": n + "*", "method": f"{n}@lr=1", "trained": True} for n in names[:5]]
    runs += [{"title": n, "method": n, "trained": n != "m3"} for n in names[:8] for _ in range(2)]
    found = run_colours(runs)
    assert [name for name, _ in found] == [n for n in names[:8] if n != "m3"] + ["m0*", "m1*", "m2*", "m3*"]
    assert len({colour for _, colour in found}) == len(PALETTE)
    for run in runs:  # the study's own before others
        run["of_study"] = run["title"] in ("m5", "m6")
    assert [name for name, _ in run_colours(runs)][:3] == ["m5", "m6", "m0"]
