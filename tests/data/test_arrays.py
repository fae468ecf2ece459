"""npz and Parquet."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nearkin import data as nd
from nearkin.errors import DataError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 16, 16), (5, 16, 16, 1), (5, 16, 16, 3), (5, 3, 16, 16), (5, 16, 16, 4)])
def test_npz_layouts(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=values, labels=[0, 1, 0, 1, 1])
    found = nd.load(str(tmp_path / "x.npz"))
    assert found.train.images.shape == (5, 3, 16, 16) and found.train.images.dtype == np.uint8
    expected = values[:, :, :, 0] if shape[-1] in (1, 3, 4) else values[:, 0] if values.ndim == 4 else values
    assert np.array_equal(found.train.images[:, 0], expected)
    assert found.train.classes == ("0", "1")


def test_npz_floats_and_split(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 4 * 8 * 8).reshape(4, 8, 8)
    np.savez(tmp_path / "x.npz", x_train=values, x_test=values, y_train=list("abab"), y_test=list("aabb"))
    found = nd.load(str(tmp_path / "x.npz"))
    assert found.train.images.max() == 255 and found.train.images.min() == 0
    assert found.test is not None and found.test.labels is not None and found.test.labels.tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"images": np.array([{}, []], dtype=object)}, "Python objects"),
        ({"pictures": np.zeros((2, 8, 8))}, "no array named"),
        ({"images": np.zeros((2, 8))}, "images must be numbers"),
        ({"images": np.zeros((2, 8, 8, 2))}, "channels"),
        ({"images": np.full((2, 8, 8), 300)}, "0..255"),
        ({"images": np.full((2, 8, 8), np.nan)}, "non-finite"),
        ({"images": np.zeros((2, 8, 8)), "labels": [1]}, "1 labels for 2 images"),
        ({"images": np.zeros((0, 8, 8))}, "images must be numbers"),
    ],
)
def test_bad_npz(tmp_path: Path, arrays: dict[str, np.ndarray], words: str) -> None:
    np.savez(tmp_path / "x.npz", **arrays)
    with pytest.raises(DataError, match=words):
        nd.load(str(tmp_path / "x.npz"))


def test_not_an_npz(tmp_path: Path) -> None:
    (tmp_path / "x.npz").write_bytes(b"hello")
    with pytest.raises(DataError):
        nd.load(str(tmp_path / "x.npz"))


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), (value, 0, 0)).save(buffer, "PNG")
    return buffer.getvalue()


def test_parquet_in_the_hugging_face_layout(tmp_path: Path) -> None:
    cells = [{"bytes": png(i), "path": f"{i}.png"} for i in range(4)]
    cells[3]["bytes"] = b"broken"
    table = pa.table({"image": cells, "label": [1, 0, 1, 0]})
    features = {"image": {"_type": "Image"}, "label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}
    table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    pq.write_table(table, tmp_path / "x.parquet")
    found = nd.load(str(tmp_path / "x.parquet"))
    assert found.train.classes == ("cat", "dog") and found.train.ids.tolist() == ["0.png", "1.png", "2.png"]
    assert found.train.labels is not None and found.train.labels.tolist() == [1, 0, 1]
    assert found.train.images[:, 0, 0, 0].tolist() == [0, 1, 2]
    assert [item.path for item in found.skipped] == ["3.png"]
    with pytest.raises(DataError, match="--strict"):
        nd.load(str(tmp_path / "x.parquet"), strict=True)


def test_parquet_with_plain_bytes_and_split(tmp_path: Path) -> None:
    table = pa.table({"img": [png(i) for i in range(4)], "split": ["train", "train", "test", "test"]})
    pq.write_table(table, tmp_path / "x.parquet")
    found = nd.load(str(tmp_path / "x.parquet"))
    assert found.test is not None and len(found.train) == len(found.test) == 2 and found.train.labels is None


@pytest.mark.parametrize(("splits", "tested"), [(["train", "validation"], [1]), (["validation", "test"], [1])])
def test_parquet_validation_is_test_only_without_another(tmp_path: Path, splits: list[str], tested: list[int]) -> None:
    pq.write_table(pa.table({"img": [png(0), png(1)], "split": splits}), tmp_path / "x.parquet")
    found = nd.load(str(tmp_path / "x.parquet"))
    assert found.test is not None and found.test.images[:, 0, 0, 0].tolist() == tested


def test_parquet_without_images(tmp_path: Path) -> None:
    pq.write_table(pa.table({"a": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="no column of encoded images"):
        nd.load(str(tmp_path / "x.parquet"))
    (tmp_path / "y.parquet").write_text("no")
    with pytest.raises(DataError, match="not a readable Parquet"):
        nd.load(str(tmp_path / "y.parquet"))
