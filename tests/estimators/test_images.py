"""Which arrays are images, and what the others are told."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.estimators import check_images

X = np.random.default_rng(0).integers(0, 256, (4, 3, 8, 8), dtype=np.uint8)


def test_both_layouts_are_the_same_images() -> None:
    assert np.array_equal(check_images(X), X)
    assert np.array_equal(check_images(X.transpose(0, 2, 3, 1)), X)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        (X.astype(np.float32), "dtype float32"),
        (X[0], r"\(N, 3, H, W\) or \(N, H, W, 3\)"),
        (X[:, :1], "Grey ones"),
        (X[:, :, :3, :3], "can be read as"),
        (X[:, :, :5], "square"),
        (X[:0], "0 images"),
        ("photos", "dtype"),
    ],
)
def test_other_input_is_told_what_is_legal(bad: object, words: str) -> None:
    with pytest.raises(DataError, match=words) as caught:
        check_images(bad)
    assert isinstance(caught.value, ValueError) and "\n" not in str(caught.value)
