"""Variants of digits and the thickness of their strokes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import rotate

from nearkin.anomalies.ood_sets import (
    VARIANTS,
    digit_variants,
    is_gray,
    padded,
    recoloured,
    resized,
    shortcut_free,
    stroke_thickness,
)
from nearkin.errors import DataError


def bars(widths: tuple[int, ...], length: int = 24) -> np.ndarray:
    out = np.zeros((len(widths), 28, 28), dtype=np.uint8)
    for image, width in zip(out, widths, strict=True):
        image[2 : 2 + length, 8 : 8 + width] = 255
    return out


def backgrounds(n: int = 5, size: int = 32) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (n, 3, size, size)).astype(np.uint8)


def test_thickness_of_bars() -> None:
    np.testing.assert_allclose(stroke_thickness(bars((1, 2, 3, 4, 5))), [1, 2, 3, 4, 5], rtol=0.1)


def test_thickness_of_a_slanted_bar_and_of_fainter_ink() -> None:
    slanted = np.clip(rotate(bars((3,))[0], 30, reshape=False, order=1), 0, 255)
    assert stroke_thickness(slanted[None])[0] == pytest.approx(3, rel=0.12)
    faint = (bars((3,)) // 3).astype(np.uint8)
    assert stroke_thickness(faint)[0] == pytest.approx(stroke_thickness(bars((3,)))[0])


def test_thickness_of_nothing_and_of_everything() -> None:
    empty, full = np.zeros((1, 28, 28), np.uint8), np.full((1, 28, 28), 255, np.uint8)
    assert stroke_thickness(empty)[0] == 0 and np.isfinite(stroke_thickness(full)).all()
    assert stroke_thickness(np.zeros((0, 28, 28), np.uint8)).shape == (0,)


def test_variants_are_what_they_say() -> None:
    digits = bars((2, 4))
    found = digit_variants(digits, 32, backgrounds(), unseen=np.zeros((1, 3, 32, 32), np.uint8))
    assert set(found) == set(VARIANTS) and shortcut_free(found) == "recoloured-unseen"
    assert (found["recoloured-unseen"][:, :, 0] == 0).all() and (found["recoloured"][:, :, 0] > 0).any()
    assert (
        shortcut_free(digit_variants(digits, 32, backgrounds())) == "recoloured" and shortcut_free(["padded"]) is None
    )
    assert all(images.shape == (2, 3, 32, 32) and images.dtype == np.uint8 for images in found.values())
    assert (found["padded"][:, :, 2:30, 2:30] == digits[:, None]).all()
    assert found["padded"].sum() == 3 * int(digits.sum(dtype=np.int64))
    assert (found["inverted"] == 255 - found["bilinear"]).all()
    assert is_gray(found["bilinear"]) and not is_gray(found["recoloured"])
    three = np.repeat(digits[:, None], 3, axis=1)
    assert (digit_variants(three, 32, backgrounds())["padded"] == found["padded"]).all()


def test_recoloured_keeps_the_background_where_there_is_no_stroke() -> None:
    gray, back = padded(bars((3,) * 40), 32), backgrounds(3)
    out = recoloured(gray, back, seed=1)
    ground = gray[0] == 0
    for image in out:
        assert any((image[:, ground] == b[:, ground]).all() for b in back)
        assert len(np.unique(image[:, ~ground].T, axis=0)) == 1  # one colour per digit
    assert len(np.unique(out[:, :, ~ground][:, :, 0], axis=0)) > 30  # another one for the next
    assert (recoloured(gray, back, seed=1) == out).all() and (recoloured(gray, back, seed=2) != out).any()
    half = recoloured(np.full((1, 32, 32), 128, np.uint8), np.zeros((1, 3, 32, 32), np.uint8), seed=0)
    full = recoloured(np.full((1, 32, 32), 255, np.uint8), np.zeros((1, 3, 32, 32), np.uint8), seed=0)
    np.testing.assert_allclose(half[0, :, 0, 0], full[0, :, 0, 0].astype(float) * 128 / 255, atol=1)


def test_bilinear_is_pillows() -> None:
    from PIL import Image

    image = np.random.default_rng(0).integers(0, 256, (28, 28)).astype(np.uint8)
    expected = np.asarray(Image.fromarray(image).resize((32, 32), Image.Resampling.BILINEAR))
    assert (resized(image[None], 32)[0] == expected).all() and (resized(image[None], 28)[0] == image).all()


def test_what_cannot_be_made() -> None:
    coloured = np.random.default_rng(0).integers(0, 256, (2, 3, 28, 28)).astype(np.uint8)
    with pytest.raises(DataError, match="gray"):
        digit_variants(coloured, 32, backgrounds())
    with pytest.raises(DataError, match="cannot be padded"):
        padded(bars((2,)), 20)
    with pytest.raises(DataError, match="backgrounds"):
        recoloured(padded(bars((2,)), 32), backgrounds(size=16))
