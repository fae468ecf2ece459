"""Stores: the images of the shards, mapped; what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from nearkin import data as nd
from nearkin.data.store import ingest, open_store
from nearkin.errors import ConfigError, DataError, OutputError
from tests.cli.inprocess import invoke
from tests.data.conftest import pixels, png, write_parquet, write_tar


def test_a_store_is_its_shards(tmp_path: Path, tars: Callable[..., str]) -> None:
    assert "5 images of side 16" in invoke("data", "ingest", tars([0, 1, 2], [3, 4]), "-o", str(tmp_path / "store"))
    found = nd.load(str(tmp_path / "store"))
    assert isinstance(found.train.images, np.memmap) and found.test is None and found.skipped == ()
    assert np.array_equal(found.train.images, np.stack([pixels(i) for i in range(5)]))
    assert found.train.classes == ("even", "odd") and found.train.known_labels().tolist() == [0, 1, 0, 1, 0]
    assert found.train.ids[3] == "s-001.tar/0003"
    assert found.fingerprint == nd.load(str(tmp_path / "store"), size=16).fingerprint
    assert not list(tmp_path.glob(".tmp-*"))


def test_shards_are_a_source_and_are_decoded_once(
    tmp_path: Path, tars: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, cache = tars([0, 1], [2]), tmp_path / "cache"
    first = nd.load(source, cache=cache)
    assert (first.name, first.source, len(first.train)) == ("2-shards", source, 3)
    monkeypatch.setattr("nearkin.data.store.ingest", None)
    assert nd.load(source, cache=cache).fingerprint == first.fingerprint
    monkeypatch.undo()
    tars([0, 1], [2, 3])
    assert len(nd.load(source, cache=cache).train) == 4
    assert nd.load(source, cache=cache, size=8).train.images.shape == (4, 3, 8, 8)


def test_split_and_unlabelled(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "p").mkdir()
    table = pa.table({"image": [png(i) for i in range(4)], "split": ["train", "test", "train", "test"]})
    pq.write_table(table, tmp_path / "p" / "0.parquet")
    found = nd.load(str(tmp_path / "p" / "*.parquet"), cache=tmp_path / "cache")
    assert found.test is not None and found.train.labels is None
    assert np.array_equal(found.test.images, np.stack([pixels(1), pixels(3)]))


def test_refusals(tmp_path: Path, tars: Callable[..., str]) -> None:
    source, store = tars([0, 1]), tmp_path / "store"
    ingest(source, store)
    with pytest.raises(OutputError, match="exists already"):
        ingest(source, store)
    with pytest.raises(ConfigError, match="side 16, not 32. Ingest again with --size 32"):
        nd.load(str(store), size=32)
    with pytest.raises(ConfigError, match="--labels is for folders"):
        nd.load(source, labels=tmp_path / "x.csv")
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        ingest(source, tmp_path / "file" / "store")
    with pytest.raises(OutputError, match="NEARKIN_CACHE"):
        nd.load(source, cache=tmp_path / "file")
    assert "no shards" in invoke("data", "ingest", str(tmp_path / "*.tar"), "-o", str(tmp_path / "x"), code=3)


def test_unreadable_images(tmp_path: Path) -> None:
    source = str(write_tar(tmp_path / "s" / "x.tar", [("0.png", b"x"), ("1.png", png(1))]))
    found = nd.load(source, cache=tmp_path / "cache")
    assert [(s.path, s.reason) for s in found.skipped] == [("x.tar/0", "not an image")] and len(found.train) == 1
    for cache in (tmp_path / "cache", tmp_path / "other"):
        with pytest.raises(DataError, match="x.tar/0: not an image.*--strict"):
            nd.load(source, cache=cache, strict=True)
    write_tar(tmp_path / "s" / "none.tar", [("0.png", b"x")])
    with pytest.raises(DataError, match="none of the 1 images of its 1 shards"):
        ingest(str(tmp_path / "s" / "none.tar"), tmp_path / "store")
    assert not (tmp_path / "store").exists() and not list(tmp_path.glob(".tmp-*"))


@pytest.mark.parametrize("file", ["images.npy", "index.parquet", "store.json"])
def test_damaged_stores(tmp_path: Path, file: str) -> None:
    ingest(str(write_parquet(tmp_path / "p" / "0.parquet", [0, 1, 2])), tmp_path / "store")
    whole = (tmp_path / "store" / file).read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"{}"):
        (tmp_path / "store" / file).write_bytes(data)
        with pytest.raises(DataError, match="Make it again with 'nearkin data ingest'"):
            open_store(tmp_path / "store")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"version": 1e999}', "[]", '{"version": 1, "source": "", "fingerprint": "", "skipped": 3}']
)
def test_a_description_that_no_writer_makes(tmp_path: Path, text: str) -> None:
    ingest(str(write_parquet(tmp_path / "p" / "0.parquet", [0, 1, 2])), tmp_path / "store")
    (tmp_path / "store" / "store.json").write_text(text)
    with pytest.raises(DataError, match="Make it again with 'nearkin data ingest'"):
        open_store(tmp_path / "store")
