"""The page as one file: whole, safe, and refused where it would be too large."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import numpy as np
import pytest

from nearkin.errors import ConfigError
from nearkin.explore import export as module
from nearkin.explore.collect import Collection
from nearkin.explore.export import check_export, export
from tests.explore.conftest import HOSTILE


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
    monkeypatch.setattr(module, "MOST_EXPORTED", 50)
    with pytest.raises(ConfigError, match="80 images are too many for one file, at most 50 fit"):
        export(collection, tmp_path / "page.html")
    assert not (tmp_path / "page.html").exists()
    with pytest.raises(ConfigError, match="written as .html"):
        check_export(tmp_path / "page.png", 1)
