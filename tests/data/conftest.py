"""Small shards of known pixels."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

Numbers = list[int]


def pixels(number: int) -> np.ndarray:
    """uint8 (3, 16, 16), another for every number."""
    return np.random.default_rng(number).integers(0, 256, (3, 16, 16), dtype=np.uint8)


def png(number: int) -> bytes:
    """The pixels as a lossless file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels(number).transpose(1, 2, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def write_tar(path: Path, files: list[tuple[str, bytes]], mode: str = "w") -> Path:
    """A tar of these files in this order."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def tar_files(numbers: Numbers) -> list[tuple[str, bytes]]:
    """Samples with an image and a label, even or odd."""
    return [
        file
        for i in numbers
        for file in ((f"{i:04d}.png", png(i)), (f"{i:04d}.cls", b"even\n" if i % 2 == 0 else b"odd"))
    ]


@pytest.fixture
def tars(tmp_path: Path) -> Callable[..., str]:
    """Write tars of some images each; return their glob."""

    def make(*numbers: Numbers, folder: str = "shards") -> str:
        for k, own in enumerate(numbers):
            write_tar(tmp_path / folder / f"s-{k:03d}.tar", tar_files(own))
        return str(tmp_path / folder / "*.tar")

    return make


def write_parquet(path: Path, numbers: Numbers) -> Path:
    """An image Parquet in Hugging Face's layout."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cells = [{"bytes": png(i), "path": f"{i:04d}.png"} for i in numbers]
    table = pa.table({"image": cells, "label": [i % 2 for i in numbers], "unused": [b"x" * 99] * len(numbers)})
    features = {"image": {"_type": "Image"}, "label": {"names": ["even", "odd"], "_type": "ClassLabel"}}
    meta = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(meta), path)
    return path
