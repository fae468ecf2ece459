"""Registration: copies of every kind agree, strangers do not; each step against a plain loop or a known answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from nearkin.duplicates.planted import KINDS, plant
from nearkin.duplicates.registration import FLAT, Alignment, align, middle, place, refine
from nearkin.errors import DataError

RNG = np.random.default_rng(0)


def pairs_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return np.stack([a, b], axis=1).astype(np.int64)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_copies_correlate_and_strangers_do_not(textures: Callable[..., np.ndarray], kind: str) -> None:
    images = textures(120)
    planted = plant(images, 0, kinds=(kind,), count=60)
    rows = np.arange(60)
    aligned = align(planted.images, images, pairs_of(rows, planted.source_row))
    assert aligned.compared.mean() > 0.95
    assert np.percentile(aligned.detail, 10) > 0.75 and np.median(aligned.detail) > 0.9
    assert np.median(aligned.correlation) > 0.93 and np.median(aligned.local) > 0.85
    if kind != "mixed":
        assert aligned.flip.all() if kind == "flip" else not aligned.flip[aligned.detail > 0.8].any()
    others = align(planted.images, images, pairs_of(rows, (planted.source_row + 1) % 120))
    assert others.detail[others.compared].max(initial=0) < 0.75


def test_the_order_of_a_pair_does_not_matter(textures: Callable[..., np.ndarray]) -> None:
    images = textures(60)
    planted = plant(images, 3, kinds=("crop", "mixed"), count=60)
    rows = np.arange(60)
    there = align(planted.images, images, pairs_of(rows, planted.source_row))
    back = align(images, planted.images, pairs_of(planted.source_row, rows))
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
    whole = align(planted.images, images, rows, threads=1)
    monkeypatch.setattr("nearkin.duplicates.registration._CHUNK", 7)
    parts = align(planted.images, images, rows, threads=3)
    for item in fields(Alignment):
        np.testing.assert_allclose(getattr(whole, item.name), getattr(parts, item.name), atol=1e-5)


def test_other_sizes_and_gray_images(textures: Callable[..., np.ndarray]) -> None:
    large = textures(10, side=96)
    same = align(large, large[:, :, ::3, ::3][:, :1].repeat(3, axis=1), pairs_of(np.arange(10), np.arange(10)))
    assert len(same) == 10
    halved = np.asarray(large.reshape(10, 3, 48, 2, 48, 2).mean(axis=(3, 5)), dtype=np.uint8)
    assert align(large, halved, pairs_of(np.arange(10), np.arange(10))).detail.min() > 0.9
    tiny = textures(4, side=9)
    assert align(tiny, tiny, pairs_of(np.arange(4), np.arange(4))).detail.min() > 0.9


def test_flat_images_match_nothing_and_no_pairs_are_no_crash() -> None:
    flat = np.full((3, 3, 32, 32), 90, dtype=np.uint8)
    aligned = align(flat, flat, pairs_of(np.arange(3), np.arange(3)))
    assert not aligned.compared.any() and (aligned.detail < 0.01).all()
    assert len(align(flat, flat, np.zeros((0, 2), dtype=np.int64))) == 0
    with pytest.raises(DataError, match="must be"):
        align(flat[0], flat, pairs_of(np.arange(3), np.arange(3)))


def test_an_outline_is_less_than_a_texture(textures: Callable[..., np.ndarray]) -> None:
    """Extent tells a small dark disc on a clear sky from a texture all over."""
    y, x = np.mgrid[:32, :32]
    disc = np.where(np.hypot(y - 15.5, x - 15.5) < 5, 40, 200).astype(np.uint8)
    images = np.stack([np.stack([disc] * 3), textures(1)[0]])
    aligned = align(images, images, pairs_of(np.arange(2), np.arange(2)))
    assert aligned.detail.min() > 0.9 and aligned.extent[0] < 0.5 * aligned.extent[1]


# place: normalised cross-correlation


def soft(n: int, side: int = 16) -> np.ndarray:
    return (30 * gaussian_filter(RNG.normal(size=(n, side, side)), (0, 1.2, 1.2)) / 0.25).astype(np.float32)


def test_equals_a_loop_over_all_windows() -> None:
    a, b, reach, scales = soft(5), soft(5), 2, (1.0, 0.85)
    placed = place(a, b, reach, scales)
    for i in range(5):
        best = (-2.0, (0, 0), False, 1.0)
        for scale in scales:
            sampling = middle(16, 12, scale)
            t = sampling @ a[i] @ sampling.T
            t = t - t.mean()
            for flip in (False, True):
                picture = b[i][:, ::-1] if flip else b[i]
                for y in range(5):
                    for x in range(5):
                        w = picture[y : y + 12, x : x + 12]
                        w = w - w.mean()
                        value = (t * w).mean() / np.sqrt((np.square(t).mean() + FLAT) * (np.square(w).mean() + FLAT))
                        if value > best[0]:
                            best = (float(value), (y - 2, x - 2), flip, scale)
        assert placed.value[i] == pytest.approx(best[0], abs=1e-4)
        assert (
            tuple(placed.shift[i]) == best[1] and placed.flip[i] == best[2] and placed.scale[i] == np.float32(best[3])
        )


def test_a_shift_and_a_mirror_are_placed() -> None:
    a = soft(20, 32)
    moved = np.roll(a, (2, -1), axis=(1, 2))[..., ::-1]
    placed = place(a, moved, 3, (1.0, 0.9))
    assert (placed.value > 0.98).all() and placed.flip.all() and (placed.scale == 1).all()
    assert (placed.shift == [2, -1]).all()
    unmirrored = place(a, moved, 3, (1.0,), mirror=False)
    assert not unmirrored.flip.any() and (unmirrored.value < 0.9).all()


def test_brightness_and_contrast_do_not_matter_and_flat_correlates_with_nothing() -> None:
    a = soft(10, 32)
    assert (place(a, 0.6 * a + 40, 3, (1.0,)).value > 0.98).all()
    flat = np.full((10, 32, 32), 128, dtype=np.float32) + RNG.normal(0, 0.3, (10, 32, 32)).astype(np.float32)
    assert np.abs(place(flat, flat, 3, (1.0,)).value).max() < 0.15
    assert len(place(a[:0], a[:0], 3, (1.0,)).value) == 0


# refine: a fraction of a pixel


def smooth(n: int) -> np.ndarray:
    return (120 * gaussian_filter(RNG.normal(size=(n, 32, 32)), (0, 1.5, 1.5))).astype(np.float32)


def warped(image: np.ndarray, shift: tuple[float, float], scale: tuple[float, float]) -> np.ndarray:
    grid = [15.5 + s + (np.arange(32) - 15.5) * z for s, z in zip(shift, scale, strict=True)]
    return map_coordinates(image, np.meshgrid(*grid, indexing="ij"), order=3, mode="nearest")


def test_raises_the_correlation_of_a_stretched_copy_towards_one() -> None:
    a = smooth(30)
    b = np.stack([warped(x, (0.7, -1.3), (0.94, 1.04)) for x in a]).astype(np.float32)
    start = place(a, b, 3, (1.0,), mirror=False)
    value, first, second = refine(a[:, None], b[:, None], start, 3)
    assert np.median(start.value) < 0.96
    assert value.min() > 0.97 and (value[:, 0] >= start.value - 1e-4).all()
    assert first.shape == second.shape == (30, 1, 26, 26) and np.abs(first.mean(axis=(2, 3))).max() < 1e-3


def test_strangers_stay_strangers() -> None:
    a, b = smooth(30), smooth(30)
    start = place(a, b, 3, (1.0,), mirror=False)
    value, _, _ = refine(a[:, None], b[:, None], start, 3)
    assert (value[:, 0] >= start.value - 1e-4).all() and value.max() < 0.85


def test_flat_images_are_no_crash() -> None:
    flat = np.zeros((2, 32, 32), dtype=np.float32)
    value, _, _ = refine(flat[:, None], flat[:, None], place(flat, flat, 3, (1.0,)), 3)
    assert (value == 0).all()
