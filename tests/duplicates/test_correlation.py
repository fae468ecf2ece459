"""Normalised cross-correlation: against a loop over windows, and planted placements found."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from nearkin.duplicates.correlation import FLAT, middle, place

RNG = np.random.default_rng(0)


def smooth(n: int, side: int = 16) -> np.ndarray:
    return (30 * gaussian_filter(RNG.normal(size=(n, side, side)), (0, 1.2, 1.2)) / 0.25).astype(np.float32)


def test_equals_a_loop_over_all_windows() -> None:
    a, b, reach, scales = smooth(5), smooth(5), 2, (1.0, 0.85)
    found = place(a, b, reach, scales)
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
        assert found.value[i] == pytest.approx(best[0], abs=1e-4)
        assert tuple(found.shift[i]) == best[1] and found.flip[i] == best[2] and found.scale[i] == np.float32(best[3])


def test_a_shift_and_a_mirror_are_found() -> None:
    a = smooth(20, 32)
    moved = np.roll(a, (2, -1), axis=(1, 2))[..., ::-1]
    found = place(a, moved, 3, (1.0, 0.9))
    assert (found.value > 0.98).all() and found.flip.all() and (found.scale == 1).all()
    assert (found.shift == [2, -1]).all()
    unmirrored = place(a, moved, 3, (1.0,), mirror=False)
    assert not unmirrored.flip.any() and (unmirrored.value < 0.9).all()


def test_brightness_and_contrast_do_not_matter_and_flat_correlates_with_nothing() -> None:
    a = smooth(10, 32)
    assert (place(a, 0.6 * a + 40, 3, (1.0,)).value > 0.98).all()
    flat = np.full((10, 32, 32), 128, dtype=np.float32) + RNG.normal(0, 0.3, (10, 32, 32)).astype(np.float32)
    assert np.abs(place(flat, flat, 3, (1.0,)).value).max() < 0.15
    assert len(place(a[:0], a[:0], 3, (1.0,)).value) == 0
