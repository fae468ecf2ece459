"""nearkin explore, in-process: the exported page and the refusals."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from tests.cli.inprocess import invoke


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(40, 5)).astype(np.float32)
    ids = np.array([f"{i}.png" for i in range(40)])
    Embeddings(Z, ids, np.arange(40) % 2, np.full(40, "train"), ("a", "b")).save(tmp_path / "e.parquet")
    return tmp_path / "e.parquet"


def test_export_writes_one_page(vectors: Path, tmp_path: Path) -> None:
    text = invoke("explore", str(vectors), "--export", str(tmp_path / "p.html"))
    assert "40 images, 1 embedding" in text and "note: no thumbnails" in text and (tmp_path / "p.html").exists()
    plain = tmp_path / "z.npy"
    np.save(plain, np.eye(9, dtype=np.float32))
    assert "9 images" in invoke("explore", str(plain), "--export", str(tmp_path / "q.html"))


def test_refusals(vectors: Path, tmp_path: Path) -> None:
    page = str(tmp_path / "p.html")
    assert "at least 1" in invoke("explore", str(vectors), "--max-images", "0", code=2)
    assert ".html" in invoke("explore", str(vectors), "--export", "p.txt", code=2)
    assert "--split can be" in invoke("explore", str(vectors), "--split", "dev", "--export", page, code=2)
    assert "no embeddings" in invoke("explore", str(tmp_path / "none.parquet"), "--export", page, code=3)
    assert "no such file" in invoke("explore", str(vectors), "--images", "./none", "--export", page, code=3)
