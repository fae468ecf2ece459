"""The page's files: no markup from data, no network, licences of what is not ours."""

from __future__ import annotations

import re

import pytest

from nearkin.explore.page import ASSETS, SCRIPTS, VENDOR, asset, index_page, single_page

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
