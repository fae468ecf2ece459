"""Factors from pixels: drawn images whose factors are known."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import sobel

from nearkin.data.shapes import shapes
from nearkin.errors import DataError
from nearkin.factors.factors import EDGE, Factor, known_factors, pixel_factors, pixel_vectors


def measured(*images: np.ndarray) -> dict[str, np.ndarray]:
    return {item.name: item.values for item in pixel_factors(np.stack(images))}


def plain(colour: tuple[int, int, int], side: int = 32) -> np.ndarray:
    return np.broadcast_to(np.array(colour, dtype=np.uint8)[:, None, None], (3, side, side)).copy()


def test_square_on_plain_ground() -> None:
    image = plain((255, 0, 0))
    image[:, 4:12, 16:24] = np.array([0, 0, 255])[:, None, None]
    found = measured(image)
    assert found["border_colour"][0] == pytest.approx([1, 0, 0])
    assert found["mean_colour"][0] == pytest.approx([1 - 64 / 1024, 0, 64 / 1024])
    assert found["object_size"][0, 0] == pytest.approx(64 / 1024)
    assert found["object_y"][0, 0] == pytest.approx(8 / 32) and found["object_x"][0, 0] == pytest.approx(20 / 32)
    assert found["saturation"][0, 0] == pytest.approx(1)
    luma = np.full((32, 32), 0.299)
    luma[4:12, 16:24] = 0.114
    assert found["brightness"][0, 0] == pytest.approx(luma.mean(), abs=1e-6)
    assert found["contrast"][0, 0] == pytest.approx(luma.std(), abs=1e-6)


def test_a_plain_image_has_no_edges_and_no_object() -> None:
    found = measured(plain((10, 200, 30)), plain((0, 0, 0)))
    for name in ("edge_density", "object_size", "contrast"):
        assert found[name] == pytest.approx(0, abs=1e-6)
    assert np.all(found["object_x"] == 0.5) and np.all(found["object_y"] == 0.5) and found["saturation"][1, 0] == 0


def test_edges_are_where_the_step_is() -> None:
    image = plain((0, 0, 0))
    image[:, :, 16:] = 255
    assert measured(image)["edge_density"][0, 0] == pytest.approx(2 / 32)  # both columns beside the step
    ramp = plain((0, 0, 0))
    ramp[:] = np.arange(32) * 8  # a slope of 0.031 per pixel is no edge
    assert measured(ramp)["edge_density"][0, 0] == 0


def test_brightness_and_saturation_against_other_libraries() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (3, 24, 40), dtype=np.uint8)
    found = measured(image)
    gray = np.asarray(Image.fromarray(image.transpose(1, 2, 0)).convert("L")) / 255
    assert found["brightness"][0, 0] == pytest.approx(gray.mean(), abs=3e-3)
    s = np.mean([colorsys.rgb_to_hsv(*pixel)[1] for pixel in image.reshape(3, -1).T / 255])
    assert found["saturation"][0, 0] == pytest.approx(s, abs=1e-5)


def test_the_ring_follows_the_size() -> None:
    image = plain((0, 0, 0), side=64)
    image[:, 4:-4, 4:-4] = 255
    assert measured(image)["border_colour"][0] == pytest.approx([0, 0, 0])


def test_an_image_is_measured_alone() -> None:
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 16, 16), dtype=np.uint8)
    for a, b in zip(pixel_factors(images), pixel_factors(images[2:3]), strict=True):
        assert np.allclose(a.values[2], b.values[0], atol=1e-6), a.name


def test_slopes_are_sobels() -> None:
    image = np.random.default_rng(0).integers(0, 256, (3, 20, 30), dtype=np.uint8)
    luma = np.tensordot([0.299, 0.587, 0.114], image / 255, axes=1)
    slope = np.hypot(sobel(luma, axis=0, mode="nearest"), sobel(luma, axis=1, mode="nearest")) / 8
    assert measured(image)["edge_density"][0, 0] == pytest.approx((slope >= EDGE).mean(), abs=1e-6)


def test_chunks_change_nothing_and_all_lie_in_0_to_1() -> None:
    images = np.random.default_rng(0).integers(0, 256, (1001, 3, 8, 8), dtype=np.uint8)
    whole, alone = pixel_factors(images), pixel_factors(images[1000:])
    for a, b in zip(whole, alone, strict=True):
        assert a.name == b.name and a.values.shape[0] == 1001 and np.allclose(a.values[1000], b.values[0], atol=1e-6)
        assert a.values.dtype == np.float32 and a.values.min() >= 0 and a.values.max() <= 1 and not a.categorical


def test_factors_follow_the_shapes_they_were_drawn_with() -> None:
    part = shapes(n_train=400, n_test=8).train
    found = measured(*part.images)
    assert np.corrcoef(found["object_x"][:, 0], part.factors["x"])[0, 1] > 0.5
    assert np.corrcoef(found["object_y"][:, 0], part.factors["y"])[0, 1] > 0.5
    assert np.corrcoef(found["object_size"][:, 0], part.factors["size"])[0, 1] > 0.3


def test_known_factors() -> None:
    made = known_factors(
        {
            "background": np.array([0, 1, 2]),
            "background_hue": np.array([0.99, 0.01, 0.5], dtype=np.float32),
            "x": np.array([1.0, 2.0, 3.0]),
            "weight": np.array([1.0, 2.0, 3.0]),
        }
    )
    by = {item.name: item for item in made}
    assert by["background"].categorical and not by["x"].categorical
    assert [by[n].group for n in ("background", "background_hue", "x", "weight")] == [
        "background",
        "background",
        "position",
        "other",
    ]
    hue = by["background_hue"].values
    assert np.linalg.norm(hue[0] - hue[1]) < 0.2 < np.linalg.norm(hue[0] - hue[2])
    assert by["x"].take(np.array([2])).values.tolist() == [[3.0]]
    with pytest.raises(DataError, match="'x' holds values that are not finite"):
        known_factors({"x": np.array([np.nan])})


@pytest.mark.parametrize(
    "images", [np.zeros((2, 3, 8, 8)), np.zeros((2, 1, 8, 8), dtype=np.uint8), np.zeros((0, 3, 8, 8), dtype=np.uint8)]
)
def test_other_arrays_are_refused(images: np.ndarray) -> None:
    with pytest.raises(DataError, match="uint8"):
        pixel_factors(images)


def test_one_tiny_image() -> None:
    for item in pixel_factors(np.full((1, 3, 1, 1), 9, dtype=np.uint8)):
        assert isinstance(item, Factor) and np.isfinite(item.values).all()


def test_pixel_vectors() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32), dtype=np.uint8)
    assert np.allclose(pixel_vectors(images), images.reshape(5, -1) / 255, atol=1e-6)
    large = images.repeat(3, axis=2).repeat(3, axis=3)
    assert np.allclose(pixel_vectors(large), pixel_vectors(images), atol=1e-6)
