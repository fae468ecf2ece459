"""IDX files: MNIST's format, parsed strictly."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from nearkin import data as nd
from nearkin.data.idx import parse_idx
from nearkin.errors import DataError


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
