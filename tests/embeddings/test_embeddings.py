"""The Parquet file between training and everything after it."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nearkin.embeddings import Embeddings
from nearkin.embeddings.embeddings import drain
from nearkin.errors import DataError, OutputError


def make(n: int = 6, labelled: bool = True) -> Embeddings:
    Z = np.random.default_rng(0).normal(size=(n, 3)).astype(np.float32)
    labels = np.array([0, 1, -1] * (n // 3)) if labelled else None
    ids = np.array([f"a/{i}.png" for i in range(n)])
    split = np.array(["train", "test"] * (n // 2))
    return Embeddings(Z, ids, labels, split, ("cat", "dog") if labelled else (), {"layer": "backbone"})


@pytest.mark.parametrize("labelled", [True, False])
def test_round_trip(tmp_path: Path, labelled: bool) -> None:
    a = make(labelled=labelled)
    a.save(tmp_path / "e.parquet")
    b = Embeddings.load(tmp_path / "e.parquet")
    assert np.array_equal(a.Z, b.Z) and a.ids.tolist() == b.ids.tolist() and a.split.tolist() == b.split.tolist()
    assert a.classes == b.classes and a.provenance == b.provenance
    assert (a.labels is None) == (b.labels is None) and (a.labels is None or a.labels.tolist() == b.labels.tolist())  # type: ignore[union-attr]


def test_groups_of_rows_are_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a = make()
    monkeypatch.setattr("nearkin.embeddings.embeddings._GROUP_BYTES", 2 * a.Z[0].nbytes + 1)
    a.save(tmp_path / "e.parquet")
    assert pq.read_metadata(tmp_path / "e.parquet").num_row_groups == 3
    b = Embeddings.load(tmp_path / "e.parquet")
    assert np.array_equal(a.Z, b.Z) and a.ids.tolist() == b.ids.tolist() and a.provenance == b.provenance


def test_rows_that_lie_together_need_no_copy() -> None:
    Z = np.arange(12, dtype=np.float32).reshape(6, 2)
    split = np.array(["train", "train", "val", "test", "val", "test"])
    whole = Embeddings(Z, np.arange(6).astype(str), np.arange(6), split, tuple("abcdef"))
    train, val, none = (whole.part(name, copy=False) for name in ("train", "val", "extra"))
    assert np.shares_memory(train.Z, Z) and train.ids.tolist() == ["0", "1"] and train.Z.tolist() == Z[:2].tolist()
    assert not np.shares_memory(val.Z, Z) and val.ids.tolist() == ["2", "4"] and val.Z.tolist() == Z[[2, 4]].tolist()
    assert len(none) == 0 and not np.shares_memory(whole.part("train").Z, Z)


def test_vectors_are_let_go_while_they_are_copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What Arrow read and its copy would both lie in memory whole: a study's largest peak."""
    monkeypatch.setattr("nearkin.fileio._BATCH_VALUES", 1)  # batches of 256 rows
    Z = np.random.default_rng(0).normal(size=(4096, 64)).astype(np.float32)
    rows = np.arange(len(Z)).astype(str)
    Embeddings(Z, rows, None, np.full(len(Z), "train")).save(tmp_path / "e.parquet")
    held: list[int] = []

    def watched(chunks: list[pa.Array], kind: pa.DataType, path: str) -> np.ndarray:
        before = pa.total_allocated_bytes()
        out = drain(chunks, kind, path)
        held.append(before - pa.total_allocated_bytes())
        return out

    monkeypatch.setattr("nearkin.embeddings.embeddings.drain", watched)
    assert np.array_equal(Embeddings.load(tmp_path / "e.parquet").Z, Z)
    assert held[0] > 0.9 * Z.nbytes


def test_many_batches_of_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nearkin.fileio._BATCH_VALUES", 1)  # so 256 rows
    a = make(900)
    a.save(tmp_path / "e.parquet")
    b = Embeddings.load(tmp_path / "e.parquet")
    assert np.array_equal(a.Z, b.Z) and a.ids.tolist() == b.ids.tolist() and b.labels is not None
    assert a.labels is not None and a.labels.tolist() == b.labels.tolist() and a.provenance == b.provenance


def test_a_folder_whose_files_differ_in_types(tmp_path: Path) -> None:
    for name, kind, label in (("a", pa.float32(), pa.int64()), ("b", pa.float64(), pa.int32())):
        columns = {
            "id": pa.array([name]),
            "label": pa.array([3], label),
            "embedding": pa.array([[1.0, 2.0]], pa.list_(kind)),
        }
        pq.write_table(pa.table(columns), tmp_path / f"{name}.parquet")
    found = Embeddings.load(tmp_path)
    assert found.Z.tolist() == [[1, 2], [1, 2]] and found.ids.tolist() == ["a", "b"] and found.classes == ("3",)


def test_schema_that_others_can_read(tmp_path: Path) -> None:
    make().save(tmp_path / "e.parquet")
    schema = pq.read_schema(tmp_path / "e.parquet")
    assert schema.names == ["id", "label", "split", "embedding"]
    assert schema.field("embedding").type == pa.list_(pa.float32(), 3)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table["label"].to_pylist() == ["cat", "dog", None] * 2


def test_foreign_files(tmp_path: Path) -> None:
    pq.write_table(pa.table({"embedding": [[1.0, 2.0], [3.0, 4.0]]}), tmp_path / "e.parquet")
    found = Embeddings.load(tmp_path / "e.parquet")
    assert found.Z.dtype == np.float32 and found.Z.tolist() == [[1, 2], [3, 4]] and not found.labelled
    pq.write_table(pa.table({"embedding": [[1.0, 2.0], [3.0]]}), tmp_path / "ragged.parquet")
    with pytest.raises(DataError, match="equal length"):
        Embeddings.load(tmp_path / "ragged.parquet")
    pq.write_table(pa.table({"x": [1]}), tmp_path / "none.parquet")
    with pytest.raises(DataError, match="no column 'embedding'"):
        Embeddings.load(tmp_path / "none.parquet")
    with pytest.raises(DataError, match="no embeddings at"):
        Embeddings.load(tmp_path / "missing.parquet")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(st.floats(width=32, allow_nan=False), max_size=3), max_size=4))
def test_any_list_column_loads_or_raises(tmp_path: Path, rows: list[list[float]]) -> None:
    pq.write_table(pa.table({"embedding": pa.array(rows, pa.list_(pa.float32()))}), tmp_path / "e.parquet")
    legal = len({len(row) for row in rows}) == 1 and rows[0] and all(math.isfinite(v) for row in rows for v in row)
    if legal:
        assert Embeddings.load(tmp_path / "e.parquet").Z.tolist() == rows
    else:
        with pytest.raises(DataError):
            Embeddings.load(tmp_path / "e.parquet")


def test_parts_and_checks(tmp_path: Path) -> None:
    a = make()
    assert a.part("test").ids.tolist() == ["a/1.png", "a/3.png", "a/5.png"] and len(a.part("val")) == 0
    with pytest.raises(DataError, match="do not match"):
        Embeddings(a.Z, a.ids[:2], None, a.split)
    with pytest.raises(DataError, match="labels for"):
        Embeddings(a.Z, a.ids, np.zeros(2, dtype=np.int64), a.split)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        a.save(tmp_path / "file" / "e.parquet")


def test_column_of_text(tmp_path: Path) -> None:
    pq.write_table(pa.table({"embedding": [["a"], ["b"]]}), tmp_path / "e.parquet")
    with pytest.raises(DataError, match="lists of numbers"):
        Embeddings.load(tmp_path / "e.parquet")


def test_numbers_as_labels_with_gaps(tmp_path: Path) -> None:
    labels = [2.0, None, 10.0]
    pq.write_table(pa.table({"embedding": [[1.0], [2.0], [3.0]], "label": labels}), tmp_path / "e.parquet")
    np.savez(tmp_path / "e.npz", embedding=np.ones((3, 1)), label=np.array(labels, dtype=float))
    for file in ("e.parquet", "e.npz"):
        assert Embeddings.load(tmp_path / file).names() == ["2", None, "10"]
