"""Single image files: the same pixels as the loader of folders, errors that name the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearkin.data import load
from nearkin.data.decode import to_square
from nearkin.data.single import read_images
from nearkin.errors import DataError


def picture(path: Path, side: int, seed: int) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side + 7, 4), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_same_pixels_as_the_loader(tmp_path: Path) -> None:
    for i in range(4):
        picture(tmp_path / "set" / f"{i}.png", 20 + i, i)
    loaded = load(str(tmp_path / "set"), size=16, cache=tmp_path / "cache", progress=False)
    names, images, skipped = read_images([tmp_path / "set"])
    assert names == [f"{tmp_path}/set/{i}.png" for i in range(4)] and not skipped
    assert np.array_equal(np.stack([to_square(image, 16) for image in images]), loaded.train.images)


def test_files_and_folders_in_order_with_broken_ones_listed(tmp_path: Path) -> None:
    one, deep = picture(tmp_path / "z.png", 9, 0), picture(tmp_path / "set" / "deep" / "a.png", 9, 1)
    (tmp_path / "set" / "broken.png").write_text("no image")
    names, images, skipped = read_images([one, tmp_path / "set"])
    assert names == [str(one), str(deep)] and [image.size for image in images] == [(16, 9)] * 2
    assert [(item.path, item.reason) for item in skipped] == [(f"{tmp_path}/set/broken.png", "not an image")]


def test_errors_name_the_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none.png: No such file"):
        read_images([tmp_path / "none.png"])
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError, match="text.png: not an image"):
        read_images([tmp_path / "text.png"])
    with pytest.raises(DataError, match="none of its 1 images is readable"):
        read_images([tmp_path])
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        read_images([tmp_path / "empty"])
