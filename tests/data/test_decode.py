"""Decoding: every mode, orientation and depth becomes RGB."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from nearkin.data.decode import decode, to_square


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def test_gray_becomes_three_equal_channels() -> None:
    pixels = np.asarray(decode(encoded(Image.new("L", (8, 8), 77))))
    assert pixels.shape == (8, 8, 3) and (pixels == 77).all()


def test_alpha_is_laid_over_white() -> None:
    pixels = np.asarray(decode(encoded(Image.new("RGBA", (8, 8), (0, 0, 0, 0)))))
    assert (pixels == 255).all()
    half = np.asarray(decode(encoded(Image.new("LA", (8, 8), (0, 128)))))
    assert np.abs(half.astype(int) - 127).max() <= 1


def test_palette_with_transparency() -> None:
    image = Image.new("P", (8, 8), 1)
    image.putpalette([0, 0, 0, 200, 10, 20])
    assert np.asarray(decode(encoded(image)))[0, 0].tolist() == [200, 10, 20]
    assert np.asarray(decode(encoded(image, transparency=1)))[0, 0].tolist() == [255, 255, 255]


def test_cmyk() -> None:
    pixels = np.asarray(decode(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=100)))
    assert pixels[0, 0, 0] > 200 and pixels[0, 0, 1] < 60


def test_exif_rotation() -> None:
    pixels = np.zeros((4, 8, 3), dtype=np.uint8)
    pixels[:, :4] = 255  # left half white
    exif = Image.Exif()
    exif[0x0112] = 6  # rotate by 90 degrees clockwise to show
    upright = np.asarray(decode(encoded(Image.fromarray(pixels), "PNG", exif=exif)))
    assert upright.shape == (8, 4, 3)
    assert (upright[:4] == 255).all() and (upright[4:] == 0).all()


def test_sixteen_bit_gray_is_scaled() -> None:
    values = np.array([[0, 65535], [32768, 257]], dtype=np.uint16)
    pixels = np.asarray(decode(encoded(Image.fromarray(values))))[:, :, 0]
    assert pixels.tolist() == [[0, 255], [127, 1]]


def test_square_crops_the_middle() -> None:
    pixels = np.zeros((10, 30, 3), dtype=np.uint8)
    pixels[:, 10:20] = 200
    out = to_square(Image.fromarray(pixels), 10)
    assert out.shape == (3, 10, 10) and (out == 200).all()


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_decode_or_say_why(data: bytes) -> None:
    try:
        assert decode(data).mode == "RGB"
    except ValueError as error:
        assert str(error) and "\n" not in str(error)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2000), st.integers(0, 255))
def test_any_damaged_png_decodes_or_says_why(position: int, value: int) -> None:
    rng = np.random.default_rng(0)
    data = bytearray(encoded(Image.fromarray(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8))))
    data[position % len(data)] = value
    try:
        assert decode(bytes(data)).mode == "RGB"
    except ValueError as error:
        assert "\n" not in str(error)


def test_too_many_pixels() -> None:
    with pytest.raises(ValueError, match="pixels"):
        decode(encoded(Image.new("1", (20_000, 20_000))))
