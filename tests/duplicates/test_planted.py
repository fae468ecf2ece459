"""Planted copies: of every kind, seeded, close to their source but not the same."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from nearkin.duplicates.planted import KINDS, plant
from nearkin.errors import ConfigError, DataError


@pytest.mark.parametrize("side", [32, 48])
def test_every_kind_changes_its_source_a_little(textures: Callable[..., np.ndarray], side: int) -> None:
    images = textures(40, side=side)
    planted = plant(images, 0, count=70)
    assert planted.images.shape == (70, 3, side, side) and planted.images.dtype == np.uint8
    assert set(planted.kind.tolist()) == set(KINDS) and (planted.kind == "crop").sum() == 10
    for copy, source in zip(planted.images, planted.source_row, strict=True):
        assert (copy != images[source]).any()
    flips = planted.kind == "flip"
    assert (planted.images[flips] == images[planted.source_row[flips]][..., ::-1]).all()


def test_seeded_and_without_repetition_as_far_as_it_goes(textures: Callable[..., np.ndarray]) -> None:
    images = textures(30)
    a, b, c = plant(images, 1, count=20), plant(images, 1, count=20), plant(images, 2, count=20)
    assert (a.images == b.images).all() and (a.source_row == b.source_row).all()
    assert (a.source_row != c.source_row).any()
    assert len(set(a.source_row.tolist())) == 20
    assert np.bincount(plant(images, 0, count=75).source_row).max() == 3


def test_one_gray_image_is_enough(textures: Callable[..., np.ndarray]) -> None:
    assert plant(textures(1)[:, :1], 0, count=14).images.shape == (14, 1, 32, 32)


def test_bad_input_is_refused(textures: Callable[..., np.ndarray]) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'flip'"):
        plant(textures(2), 0, kinds=("flipp",))
    with pytest.raises(ConfigError, match="at least one"):
        plant(textures(2), 0, count=0)
    with pytest.raises(DataError, match="must be"):
        plant(np.zeros((0, 3, 8, 8), dtype=np.uint8), 0)
