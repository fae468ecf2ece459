"""The page: no markup from data, no network, licences of what is not ours; as one file whole, and refused where too large."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from nearkin.errors import ConfigError
from nearkin.explore import page as page_module
from nearkin.explore.collection import Collection
from nearkin.explore.page import (
    ASSETS,
    SCRIPTS,
    VENDOR,
    asset,
    check_export,
    export,
    index_page,
    single_page,
)
from tests.explore.conftest import HOSTILE

OURS = [name for name in SCRIPTS if name != VENDOR]


@pytest.mark.parametrize("name", OURS)
def test_scripts_put_text_into_the_page_as_text_only(name: str) -> None:
    text = asset(name)
    for banned in (
        "innerHTML",
        "outerHTML",
        "insertAdjacentHTML",
        "document.write",
        "DOMParser",
        "eval(",
        "Function(",
        "srcdoc",
    ):
        assert banned not in text
    assert text.startswith('"use strict";') and len(text.splitlines()) <= 330


@pytest.mark.parametrize("name", [*OURS, "style.css", "index.html"])
def test_nothing_is_loaded_from_elsewhere(name: str) -> None:
    assert not re.search(r"https?://|//[a-z0-9-]+\.[a-z]{2,}/|@import", asset(name))


def test_the_page_holds_no_inline_script_style_or_handler() -> None:
    page = index_page()
    assert not re.search(r"<script(?![^>]*\bsrc=)", page) and "<style" not in page
    assert not re.search(r"\s(on\w+|style)=", page)


def test_the_single_page_allows_exactly_its_own_scripts() -> None:
    page = single_page('{"a":1}')
    assert (
        page.count("sha256-") == len(SCRIPTS)
        and "script-src 'sha256-" in page
        and "src=" not in page.split("<body>")[1][:2000]
    )
    assert '<script type="application/json" id="data">{"a":1}</script>' in page


def test_vendored_code_has_its_licences() -> None:
    text = (ASSETS / "vendor" / "LICENSES.txt").read_text(encoding="utf-8")
    for name in (
        "regl-scatterplot",
        "regl ",
        "regl-line",
        "dom-2d-camera",
        "camera-2d-simple",
        "gl-matrix",
        "earcut",
        "pub-sub-es",
        "kdbush",
    ):
        assert name in text
    assert text.count("Permission is hereby granted") + text.count("Permission to use, copy, modify") >= 9


def test_the_file_holds_neighbours_maps_and_thumbnails(collection: Collection, tmp_path: Path) -> None:
    page = export(collection, tmp_path / "page.html").read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page, re.S)
    assert found and HOSTILE not in page  # "<" is written as an escape, so no name can end the element
    data = json.loads(found[1])
    assert any(HOSTILE in name for name in data["meta"]["ids"])
    assert len(data["spaces"]) == 2 and set(data["spaces"][0]["maps"]) == {"tsne", "pca"}
    assert base64.b64decode(data["sheets"][0])[8:12] == b"WEBP"
    near = np.frombuffer(base64.b64decode(data["spaces"][0]["near"]), dtype="<u2").reshape(80, 10)
    asked = collection.finder(0).of_row(5, 10, 0)
    assert near[5].tolist() == asked.near.tolist()
    assert not any(space["searchable"] for space in data["meta"]["spaces"])
    assert set(data["meta"]["spaces"][0]["maps"]) == {"tsne", "pca"}


def test_too_many_images_or_another_kind_of_file(
    collection: Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page_module, "MOST_EXPORTED", 50)
    with pytest.raises(ConfigError, match="80 images are too many for one file, at most 50 fit"):
        export(collection, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(ConfigError, match="written as .html"):
        check_export(tmp_path / "page.png", 1)
