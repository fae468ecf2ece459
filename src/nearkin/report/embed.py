"""What the report reads of a study, and data made safe and small enough for the inside of one HTML file."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from nearkin.errors import reading
from nearkin.fileio import read_arrays, read_object
from nearkin.folders import StudyFolder

_MOST_PIXELS = 96


def json_script(value: Any) -> str:
    """JSON for the inside of a <script> element: no tag, comment or line separator can end it."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    for char, code in (
        ("<", "\\u003c"),
        (">", "\\u003e"),
        ("&", "\\u0026"),
        ("\u2028", "\\u2028"),
        ("\u2029", "\\u2029"),
    ):
        text = text.replace(char, code)
    return text


def png_uri(image: NDArray[np.uint8]) -> str:
    """uint8 (3, H, W) -> data URI of a PNG, no wider or higher than pages show it (64 pixels of a dense screen)."""
    buffer = io.BytesIO()
    picture = Image.fromarray(np.ascontiguousarray(image.transpose(1, 2, 0)))
    picture.thumbnail((_MOST_PIXELS, _MOST_PIXELS))  # hundreds of full photographs would make a page of many megabytes
    picture.save(buffer, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def base64_uint16(values: NDArray[np.integer[Any]]) -> str:
    """Little-endian uint16 values as base64."""
    return base64.b64encode(values.astype("<u2").tobytes()).decode()


@contextmanager
def results_of(study: Path) -> Iterator[dict[str, Any]]:
    """Yield the results.json of a study's folder.

    Raises:
        DataError: it is missing or damaged, or the block fails on what it holds.
    """
    path = StudyFolder(study).results_file
    results = read_object(path, data=dict, runs=list, table=list)
    with reading(f"{path} does not hold what a study writes: it", "Run the study's command again."):
        yield results


def load_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz, or {} without a file. Raises DataError when it is damaged."""
    if not path.exists():
        return {}
    return read_arrays(path)
