"""--index of search, duplicates and anomalies: the same answers by another engine, and how many of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from nearkin.cli import app
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError


def call(*args: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """150 vectors of two classes, some of them twice."""
    rng = np.random.default_rng(0)
    y = np.arange(150) % 2
    Z = (rng.normal(size=(150, 12)) + 3 * np.eye(2, 12)[y]).astype(np.float32)
    Z[100:105] = Z[:5] + 1e-4
    split = np.where(np.arange(150) % 5 == 0, "test", "train")
    path = tmp_path_factory.mktemp("index") / "e.parquet"
    Embeddings(Z, np.array([f"it's/{i}.png" for i in range(150)]), y, split, ("a", "b")).save(path)
    return path


def both(vectors: Path, folder: Path, engine: str, *args: object) -> tuple[dict[str, Any], dict[str, Any], str]:
    """The command's JSON by faiss and by the engine, and what the latter printed."""
    command, *options = args
    call(command, vectors, *options, "--json", folder / "exact.json")
    text = call(command, vectors, *options, "--json", folder / "engine.json", "--index", engine)
    exact, found = (json.loads((folder / f"{name}.json").read_text()) for name in ("exact", "engine"))
    assert exact.pop("index") == {"engine": "faiss", "measured": []}
    measured = found.pop("index")
    assert measured["engine"] == engine and measured["measured"][0]["recall"] == 1
    assert f"index {engine}: recall@" in text
    return exact, found, text


@pytest.mark.parametrize("engine", ["faiss:HNSW32 efSearch=200", "milvus"])
def test_search_and_its_table(vectors: Path, tmp_path: Path, engine: str) -> None:
    import pyarrow.parquet as pq

    exact, found, text = both(vectors, tmp_path, engine, "search", "--split", "train", "--k", 4)
    assert exact == found and "120 images searched by " + engine in text
    for name, index in (("exact", "faiss"), ("engine", engine)):
        call("search", vectors, "row:3", "-o", tmp_path / f"{name}.parquet", "--index", index)
    tables = [pq.read_table(tmp_path / f"{name}.parquet").to_pydict() for name in ("exact", "engine")]
    assert tables[0]["hubness"] == tables[1]["hubness"]
    assert [row["ids"] for row in tables[0]["neighbors"]] == [row["ids"] for row in tables[1]["neighbors"]]


@pytest.mark.parametrize("options", [(), ("--across", "train,test")])
def test_duplicates(vectors: Path, tmp_path: Path, options: tuple[str, ...]) -> None:
    args = ("duplicates", "--threshold", 0.001, "--pairs", tmp_path / "pairs.csv", *options)
    exact, found, _ = both(vectors, tmp_path, str(tmp_path / "kept.db"), *args)
    assert exact == found and any(item["images_with_duplicate"] for item in exact["searches"].values())
    assert "it's/100.png" in (tmp_path / "pairs.csv").read_text()


def test_anomalies(vectors: Path, tmp_path: Path) -> None:
    exact, found, _ = both(vectors, tmp_path, "milvus", "anomalies", "--score", "knn2,knn-norm,lof", "--k", 3)
    for score in ("knn2", "knn-norm", "lof"):
        for a, b in zip(exact["ranked"][score]["most"], found["ranked"][score]["most"], strict=True):
            assert a["id"] == b["id"] and a["score"] == pytest.approx(b["score"], rel=1e-3, abs=1e-4)


def test_an_engine_that_does_not_exist(vectors: Path) -> None:
    for command in (("search",), ("duplicates", "--threshold", "0.1"), ("anomalies",)):
        with pytest.raises(ConfigError, match="Legal: faiss, faiss:KIND, milvus"):
            CliRunner().invoke(
                app, [command[0], str(vectors), *command[1:], "--index", "pinecone"], catch_exceptions=False
            )
