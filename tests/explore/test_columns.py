"""What becomes a column to colour by, and how."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearkin.errors import DataError
from nearkin.explore.columns import column_of, table_columns

IDS = np.array(["a", "b", "c"])


def test_numbers_and_groups_are_told_apart() -> None:
    real = column_of("s", np.array([0.5, 1.5, np.nan]))
    assert real is not None and real.groups == () and np.isnan(real.values[2])
    few = column_of("n", np.array([3, 7, 3]))
    assert few is not None and few.groups == ("3", "7") and few.values.tolist() == [0, 1, 0]
    many = column_of("n", np.arange(30))
    assert many is not None and many.groups == ()
    text = column_of("t", np.array(["x", None, "w"], dtype=object))
    assert text is not None and text.groups == ("w", "x") and np.isnan(text.values[1])
    cluster = column_of("cluster", np.array([-1, 0, 1]))
    assert cluster is not None and cluster.groups == ("noise", "0", "1")
    assert column_of("t", np.array([f"{i}" for i in range(100)], dtype=object)) is None
    assert column_of("s", np.array([np.nan])) is None


def test_of_many_texts_the_most_frequent_have_a_colour_each() -> None:
    texts = [f"{i:03d}" for i in range(100) for _ in range(1 + (i >= 41))] + [None]
    found = column_of("t", np.array(texts, dtype=object))
    assert found is not None and found.groups == (*(f"{i:03d}" for i in range(41, 100)), "41 others")
    named = [None if np.isnan(v) else found.groups[int(v)] for v in found.values]
    assert named == [text if text is None or text >= "041" else "41 others" for text in texts]


def test_a_table_is_matched_by_path_and_brings_its_map(tmp_path: Path) -> None:
    columns = {
        "path": ["c", "z", "a"],
        "anomaly_score": [0.3, 9.0, 0.1],
        "camera": ["old", "old", "new"],
        "neighbors": [[1], [2], [0]],
        "extra": [[1], [2], [0]],
        "price": [Decimal("1.50"), None, Decimal("2.25")],
        "x": [1.0, 2.0, 3.0],
        "y": [4.0, 5.0, 6.0],
    }
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    said: list[str] = []
    found, coords = table_columns(tmp_path / "t.parquet", IDS, said.append)
    assert [column.name for column in found] == ["anomaly_score", "camera", "price"]
    np.testing.assert_allclose(found[2].values, [2.25, np.nan, 1.5])
    np.testing.assert_allclose(found[0].values, [0.1, np.nan, 0.3], rtol=1e-6)
    assert found[1].groups == ("new", "old") and "extra" in said[0]
    assert coords is not None
    np.testing.assert_allclose(coords, [[3, 6], [np.nan, np.nan], [1, 4]])


def test_foreign_and_unreadable_tables_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"path": ["q"], "s": [1.0]}), tmp_path / "q.parquet")
    pq.write_table(pa.table({"s": [1.0]}), tmp_path / "s.parquet")
    (tmp_path / "t.parquet").write_text("no")
    for name, why in (("q", "other images"), ("s", "no column 'path' or 'id'"), ("t", "readable"), ("u", "no table")):
        with pytest.raises(DataError, match=why):
            table_columns(tmp_path / f"{name}.parquet", IDS, lambda _: None)
