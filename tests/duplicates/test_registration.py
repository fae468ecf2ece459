"""The aligned check: copies of every kind correlate, strangers do not; sizes, order, threads."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest

from nearkin.duplicates.planted import KINDS, plant
from nearkin.duplicates.registration import Alignment, align
from nearkin.errors import DataError


def pairs_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a, b], axis=1).astype(np.int64)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_copies_correlate_and_strangers_do_not(textures: Callable[..., np.ndarray], kind: str) -> None:
    images = textures(120)
    planted = plant(images, 0, kinds=(kind,), count=60)
    rows = np.arange(60)
    found = align(planted.copies, images, pairs_of(rows, planted.source_row))
    assert found.compared.mean() > 0.95
    assert np.percentile(found.detail, 10) > 0.75 and np.median(found.detail) > 0.9
    assert np.median(found.correlation) > 0.93 and np.median(found.local) > 0.85
    if kind != "mixed":
        assert found.flip.all() if kind == "flip" else not found.flip[found.detail > 0.8].any()
    others = align(planted.copies, images, pairs_of(rows, (planted.source_row + 1) % 120))
    assert others.detail[others.compared].max(initial=0) < 0.75


def test_the_order_of_a_pair_does_not_matter(textures: Callable[..., np.ndarray]) -> None:
    images = textures(60)
    planted = plant(images, 3, kinds=("crop", "mixed"), count=60)
    rows = np.arange(60)
    there = align(planted.copies, images, pairs_of(rows, planted.source_row))
    back = align(images, planted.copies, pairs_of(planted.source_row, rows))
    # Where two placements fit alike, rounding (which depends on the CPU's instructions) may decide: a pair or two of 60.
    for item in fields(Alignment):
        same = np.isclose(getattr(there, item.name), getattr(back, item.name), atol=0.02)
        assert same.mean() >= 0.95, item.name


def test_chunks_and_threads_change_nothing(
    textures: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    images = textures(40)
    planted = plant(images, 0, count=40)
    rows = pairs_of(np.arange(40), planted.source_row)
    whole = align(planted.copies, images, rows, threads=1)
    monkeypatch.setattr("nearkin.duplicates.registration._CHUNK", 7)
    parts = align(planted.copies, images, rows, threads=3)
    for item in fields(Alignment):
        np.testing.assert_allclose(getattr(whole, item.name), getattr(parts, item.name), atol=1e-5)


def test_other_sizes_and_grey_images(textures: Callable[..., np.ndarray]) -> None:
    large = textures(10, side=96)
    same = align(large, large[:, :, ::3, ::3][:, :1].repeat(3, axis=1), pairs_of(np.arange(10), np.arange(10)))
    assert len(same) == 10
    halved = np.asarray(large.reshape(10, 3, 48, 2, 48, 2).mean(axis=(3, 5)), dtype=np.uint8)
    assert align(large, halved, pairs_of(np.arange(10), np.arange(10))).detail.min() > 0.9
    tiny = textures(4, side=9)
    assert align(tiny, tiny, pairs_of(np.arange(4), np.arange(4))).detail.min() > 0.9


def test_flat_images_match_nothing_and_no_pairs_are_no_crash() -> None:
    flat = np.full((3, 3, 32, 32), 90, dtype=np.uint8)
    found = align(flat, flat, pairs_of(np.arange(3), np.arange(3)))
    assert not found.compared.any() and (found.detail < 0.01).all()
    assert len(align(flat, flat, np.zeros((0, 2), dtype=np.int64))) == 0
    with pytest.raises(DataError, match="must be"):
        align(flat[0], flat, pairs_of(np.arange(3), np.arange(3)))


def test_an_outline_is_less_than_a_texture(textures: Callable[..., np.ndarray]) -> None:
    """Extent tells a small dark disc on a clear sky from a texture all over."""
    y, x = np.mgrid[:32, :32]
    disc = np.where(np.hypot(y - 15.5, x - 15.5) < 5, 40, 200).astype(np.uint8)
    images = np.stack([np.stack([disc] * 3), textures(1)[0]])
    found = align(images, images, pairs_of(np.arange(2), np.arange(2)))
    assert found.detail.min() > 0.9 and found.extent[0] < 0.5 * found.extent[1]
