"""npz, Parquet and MNIST's IDX files."""

from __future__ import annotations

import gzip
import io
import json
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from nearkin import data as nd
from nearkin.data.arrays import parse_idx
from nearkin.data.decode import over_white
from nearkin.errors import DataError

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(5, 16, 16), (5, 16, 16, 1), (5, 16, 16, 3), (5, 3, 16, 16), (5, 16, 16, 4)])
def test_npz_layouts(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = RNG.integers(0, 256, shape, dtype=np.uint8)
    np.savez(tmp_path / "x.npz", images=values, labels=[0, 1, 0, 1, 1])
    found = nd.load(str(tmp_path / "x.npz"))
    assert found.train.images.shape == (5, 3, 16, 16) and found.train.images.dtype == np.uint8
    expected = values[:, :, :, 0] if shape[-1] in (1, 3, 4) else values[:, 0] if values.ndim == 4 else values
    if shape[-1] == 4:  # transparency is laid over white, as in files
        expected = np.stack([np.asarray(over_white(Image.fromarray(item)))[:, :, 0] for item in values])
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


def idx(values: np.ndarray) -> bytes:
    return bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()


@given(hnp.arrays(np.uint8, hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_round_trip(values: np.ndarray) -> None:
    assert np.array_equal(parse_idx(idx(values), "x"), values)


@given(st.binary(max_size=60))
def test_any_bytes_parse_or_raise(data: bytes) -> None:
    try:
        assert parse_idx(data, "x").dtype == np.uint8
    except DataError as error:
        assert "\n" not in str(error)


@given(hnp.arrays(np.uint8, (2, 3, 3)), st.integers(1, 20))
def test_truncation_is_noticed(values: np.ndarray, cut: int) -> None:
    with pytest.raises(DataError):
        parse_idx(idx(values)[:-cut], "x")


def write(folder: Path, packed: bool) -> None:
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for stem, n in (("train", 12), ("t10k", 6)):
        parts = {
            f"{stem}-images-idx3-ubyte": idx(rng.integers(0, 256, (n, 28, 28), dtype=np.uint8)),
            f"{stem}-labels-idx1-ubyte": idx((np.arange(n) % 10).astype(np.uint8)),
        }
        for name, data in parts.items():
            if packed:
                (folder / f"{name}.gz").write_bytes(gzip.compress(data))
            else:
                (folder / name).write_bytes(data)


@pytest.mark.parametrize("packed", [True, False])
def test_folder_with_mnist_files(tmp_path: Path, packed: bool) -> None:
    write(tmp_path / "MNIST" / "raw", packed)
    found = nd.load(str(tmp_path), size=None)
    assert found.train.images.shape == (12, 3, 28, 28) and found.test is not None and len(found.test) == 6
    assert (found.train.images[:, 0] == found.train.images[:, 2]).all()
    assert found.train.labels is not None and found.train.labels.tolist() == [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]


def test_one_split_alone(tmp_path: Path) -> None:
    write(tmp_path / "raw", False)
    whole = nd.load(str(tmp_path), size=16)
    for only, expected in (("train", whole.train), ("test", whole.test)):
        found = nd.load(str(tmp_path), size=16, only=only)
        assert expected is not None and found.test is None
        np.testing.assert_array_equal(found.train.images, expected.images)
        assert found.train.ids.tolist() == expected.ids.tolist()
    for file in (tmp_path / "raw").glob("t10k*"):
        file.unlink()
    assert len(nd.load(str(tmp_path), only="test").train) == 12  # the split that is there


def test_damaged_gzip(tmp_path: Path) -> None:
    write(tmp_path / "raw", True)
    path = tmp_path / "raw" / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be read"):
        nd.load(str(tmp_path))
