"""Embeddings to and from NumPy, pandas and Arrow: nothing is lost, and what others read is what was written."""

from __future__ import annotations

import builtins
import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from nearkin import Embeddings
from nearkin.embeddings import as_embeddings
from nearkin.errors import ConfigError, DataError
from tests.embeddings.test_embeddings import make


def same(a: Embeddings, b: Embeddings) -> bool:
    labels = (a.labels is None) == (b.labels is None) and (a.labels is None or a.names() == b.names())
    return (
        labels
        and np.array_equal(a.Z, b.Z)
        and a.ids.tolist() == b.ids.tolist()
        and a.split.tolist() == b.split.tolist()
    )


@pytest.mark.parametrize("labelled", [True, False])
def test_arrow_round_trip(labelled: bool) -> None:
    a = make(labelled=labelled)
    b = Embeddings.from_arrow(a.to_arrow())
    assert same(a, b) and a.classes == b.classes and a.provenance == b.provenance


def test_arrow_tables_of_others() -> None:
    table = pa.table({"embedding": [[1.0, 2.0], [3.0, 4.0]], "label": [7, None]})
    found = Embeddings.from_arrow(table)
    assert found.ids.tolist() == ["0", "1"] and found.names() == ["7", None] and found.split.tolist() == ["train"] * 2
    renamed = make().to_arrow().set_column(1, "label", pa.array(["wolf"] * 6))
    assert Embeddings.from_arrow(renamed).classes == ("wolf",)
    for bad, words in (
        (pa.table({"x": [1]}), "the table has no column 'embedding'"),
        (pa.table({"embedding": [[1.0], [1.0, 2.0]]}), "equal length"),
        (pa.table({"embedding": [[float("nan")]]}), "NaN"),
    ):
        with pytest.raises(DataError, match=words):
            Embeddings.from_arrow(bad)


@pytest.mark.parametrize("labelled", [True, False])
def test_numpy_round_trip_also_through_npz(tmp_path: Path, labelled: bool) -> None:
    a = make(labelled=labelled)
    arrays = a.to_numpy()
    assert same(a, Embeddings.from_numpy(a.Z, ids=arrays["id"], labels=arrays.get("label"), split=arrays["split"]))
    np.savez(tmp_path / "e.npz", **arrays)
    assert same(a, Embeddings.load(tmp_path / "e.npz"))


def test_numpy_refuses_what_is_no_embedding() -> None:
    with pytest.raises(DataError, match=r"the array must hold an array 'embedding' \(N, D\)"):
        Embeddings.from_numpy(np.zeros(3))
    with pytest.raises(DataError, match="expected"):
        Embeddings.from_numpy(np.zeros((3, 2)), labels=[1, 2])
    with pytest.raises(DataError, match="NaN"):
        Embeddings.from_numpy(np.full((3, 2), np.inf))


@pytest.mark.parametrize("labelled", [True, False])
def test_pandas_round_trip(labelled: bool) -> None:
    pandas = pytest.importorskip("pandas")
    a = make(labelled=labelled)
    frame = a.to_pandas()
    assert list(frame.columns) == ["id", "label", "split", "embedding"] and frame["embedding"][0].dtype == np.float32
    b = Embeddings.from_pandas(frame)
    assert same(a, b) and a.classes == b.classes and a.provenance == b.provenance
    assert same(a, Embeddings.from_arrow(a.to_arrow().replace_schema_metadata(None)))
    with pytest.raises(DataError, match="no column 'embedding'"):
        Embeddings.from_pandas(pandas.DataFrame({"x": [1]}))


def test_without_pandas_the_way_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def no_pandas(name: str, *args: Any, **kwargs: Any) -> Any:
        if name == "pandas":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", no_pandas)
    with pytest.raises(ConfigError, match=r"nearkin\[pandas\]"):
        make().to_pandas()


def test_html_has_the_facts_and_a_point_per_row_and_is_escaped() -> None:
    from xml.etree import ElementTree

    a = Embeddings(make().Z, make().ids, make().labels, make().split, ("<b>", "dog"), {"method": "<script>"})
    text = a._repr_html_()
    assert text.count("<circle") == 6 and "6 of 3 dimensions" in text and "<script>" not in text and "&lt;b&gt;" in text
    ElementTree.parse(io.StringIO(f"<div>{text}</div>"))
    big = Embeddings.from_numpy(np.random.default_rng(0).normal(size=(2000, 2)))
    assert big._repr_html_().count("<circle") == 400
    assert (
        "none" in big.take(np.arange(0))._repr_html_() and "svg" in Embeddings.from_numpy(np.ones((5, 1)))._repr_html_()
    )


def test_an_array_counts_as_embeddings() -> None:
    made = as_embeddings(np.arange(6).reshape(3, 2))
    assert made.Z.dtype == np.float32 and made.ids.tolist() == ["0", "1", "2"] and made.labels is None
    assert as_embeddings(made) is made
    with pytest.raises(DataError, match="must hold an array"):
        as_embeddings(np.zeros(3))
