"""Sprite sheets and pictures: the right pixels at the right place."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearkin.errors import DataError
from nearkin.explore.pictures import ACROSS, PER_SHEET, Pictures, open_pictures
from nearkin.explore.spaces import find_spaces
from nearkin.fileio import write_npz
from nearkin.folders import StudyFolder


def flat(n: int, side: int) -> np.ndarray:
    """Image k is flat gray of value k % 250."""
    values = (np.arange(n) % 250).astype(np.uint8)
    return np.broadcast_to(values[:, None, None, None], (n, 3, side, side)).copy()


@pytest.mark.parametrize(("side", "shown"), [(16, 16), (96, 64)])
def test_a_thumbnail_stands_where_its_row_says(side: int, shown: int) -> None:
    pictures = Pictures(flat(300, side), np.arange(300))
    assert pictures.sheets == 2 and pictures.side == shown
    for row in (0, 17, 255, 260, 299):
        sheet = Image.open(io.BytesIO(pictures.sheet(row // PER_SHEET)))
        assert sheet.format == "WEBP" and sheet.width == ACROSS * shown
        k = row % PER_SHEET
        pixel = sheet.convert("L").getpixel((k % ACROSS * shown + shown // 2, k // ACROSS * shown + shown // 2))
        assert isinstance(pixel, int) and abs(pixel - row % 250) <= 12  # lossy
    assert Image.open(io.BytesIO(pictures.picture(3))).size == (side, side)


def test_what_is_not_there_is_refused() -> None:
    pictures = Pictures(flat(2, 16), np.array([1, -1, 0]))
    pictures.sheet(0)
    for ask in (
        lambda: pictures.sheet(1),
        lambda: pictures.sheet(-1),
        lambda: pictures.picture(1),
        lambda: pictures.picture(9),
    ):
        with pytest.raises(DataError, match="no "):
            ask()


def test_a_study_leads_to_its_images_or_to_its_thumbnails(root: Path, tmp_path: Path) -> None:
    made = find_spaces([root / "study"])[0].embeddings
    found, whole = open_pictures(made.ids, None, StudyFolder(root / "study"), lambda _: None)
    assert found is not None and whole is not None and whole.ids.tolist() == made.ids.tolist()
    said: list[str] = []
    assert (
        open_pictures(made.ids, None, StudyFolder(tmp_path), said.append) == (None, None) and "--images DATA" in said[0]
    )
    write_npz(tmp_path / "thumbnails.npz", {"ids": made.ids[5:7], "images": flat(2, 16)})
    found, _ = open_pictures(made.ids, None, StudyFolder(tmp_path), said.append)
    assert found is not None and found.where[5:7].tolist() == [0, 1] and (found.where >= 0).sum() == 2
    with pytest.raises(DataError, match="no such file"):
        open_pictures(made.ids, "./nowhere", StudyFolder(root / "study"), lambda _: None)
