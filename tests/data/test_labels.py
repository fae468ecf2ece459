"""Label files."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearkin.data.labels import read_labels
from nearkin.errors import DataError


def test_csv_and_parquet_agree(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path,label,split\na/1.png,cat,train\na/2.png,,val\n", encoding="utf-8")
    columns = {"path": ["a/1.png", "a/2.png"], "label": ["cat", None], "split": ["train", "val"]}
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    expected = {"a/1.png": ("cat", "train"), "a/2.png": (None, "test")}
    assert read_labels(tmp_path / "x.csv").rows == read_labels(tmp_path / "x.parquet").rows == expected


def test_validation_joins_train_where_there_is_a_test_split(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("path,label,split\na,c,train\nb,c,Val\nc,d,test\n")
    assert {path: split for path, (_, split) in read_labels(tmp_path / "x.csv").rows.items()} == {
        "a": "train",
        "b": "train",
        "c": "test",
    }


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name,label\na,b\n", "needs the columns path and label"),
        ("path,label\n", "no rows"),
        ("path,label\na,b\na,c\n", "twice"),
        ("path,label,split\na,b,holdout\n", "unknown split 'holdout'"),
        ("", "needs the columns"),
    ],
)
def test_bad_files(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=words):
        read_labels(tmp_path / "x.csv")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no label file"):
        read_labels(tmp_path / "x.csv")


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=120))
def test_any_bytes_parse_or_raise_one_line(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.csv").write_bytes(b"path,label\n" + data)
    try:
        assert read_labels(tmp_path / "x.csv").rows
    except DataError as error:
        assert str(error)


@pytest.mark.parametrize(
    "text", ["path;label\r\na/1.png;cat\r\n", "path\tlabel\na/1.png\tcat\n", "path, label\na/1.png, cat\n"]
)
def test_what_spreadsheets_write(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_labels(tmp_path / "x.csv").rows == {"a/1.png": ("cat", None)}
