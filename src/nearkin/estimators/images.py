"""Arrays of images as the estimators take them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.errors import DataError


class InputError(DataError, ValueError):
    """X or y is not what an estimator takes. A ValueError too, as scikit-learn's users expect."""


def check_images(X: Any) -> NDArray[np.uint8]:
    """uint8 (N, 3, H, W) or (N, H, W, 3), values 0..255, H = W -> uint8 (N, 3, H, W), a view where possible.

    The shape says where the channels are: the axis of length 3. Grey images are repeated to 3 channels by the caller.

    Raises:
        InputError: another type or shape, no images, or a shape that can be read both ways.
    """
    images = np.asarray(X)
    if images.dtype != np.uint8:
        raise InputError(
            f"X has dtype {images.dtype}; images are uint8, 0..255. For floats in [0, 1]: (255 * X).round().astype('uint8')."
        )
    if images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise InputError(
            f"X has shape {images.shape}; images are (N, 3, H, W) or (N, H, W, 3). Grey ones: np.repeat(X[:, None], 3, axis=1)."
        )
    if images.shape[1] == images.shape[3]:
        raise InputError(
            f"X has shape {images.shape}, which can be read as (N, 3, H, W) and as (N, H, W, 3); use larger images."
        )
    if images.shape[3] == 3:
        images = images.transpose(0, 3, 1, 2)
    if not len(images) or images.shape[2] != images.shape[3]:
        raise InputError(
            f"X holds {len(images)} images of {images.shape[2]} x {images.shape[3]} pixels; at least one, and square ones, are needed."
        )
    return images
