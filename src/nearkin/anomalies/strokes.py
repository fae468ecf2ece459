"""Stroke thickness of gray digits, from the distance transform."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from nearkin.system import available_cores

_ZOOM = 3
_CHUNK = 250


def stroke_thickness(gray: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean stroke width in pixels of bright strokes on a dark ground.

    In a long bar of width w the distance to the border is spread evenly over 0..w/2, so its mean is w/4 and the width is
    four times the mean over the stroke. Images are enlarged three times (bilinear) first, because strokes are only a few
    pixels wide; a pixel belongs to the stroke above half of the image's brightest value.

    Args:
        gray: uint8 (N, H, W).
    Returns:
        float64 (N,); 0 for an image without stroke.
    """
    starts = range(0, len(gray), _CHUNK)
    with ThreadPoolExecutor(available_cores()) as pool:  # resizing and distances run outside of Python's lock
        parts = pool.map(lambda i: [_thickness(image) for image in gray[i : i + _CHUNK]], starts)
        return np.array([value for part in parts for value in part], dtype=np.float64)


def _thickness(image: NDArray[np.uint8]) -> float:
    from PIL import Image
    from scipy.ndimage import distance_transform_edt

    height, width = image.shape
    large = np.asarray(Image.fromarray(image).resize((width * _ZOOM, height * _ZOOM), Image.Resampling.BILINEAR))
    stroke = large > int(image.max()) / 2
    if not stroke.any():
        return 0.0
    # A ring of background, so that a stroke ends at the picture's edge.
    distance = distance_transform_edt(np.pad(stroke, 1))
    # The nearest background pixel's centre lies half a pixel beyond the border.
    return 4 * (float(distance.sum() / stroke.sum()) - 0.5) / _ZOOM
