"""Sub-pixel alignment: a known shift and scale recovered, strangers left alone."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter, map_coordinates

from nearkin.duplicates.correlation import place
from nearkin.duplicates.ecc import refine

RNG = np.random.default_rng(1)


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
