"""nearkin cluster, in process: every output, every refusal in one line."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from nearkin.clusters.clusters import _choice
from nearkin.clusters.kmeans import ChosenK
from nearkin.embeddings import Embeddings
from tests.cli.inprocess import invoke

N = 60


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Images of three colours, their planted embedding, the working directory."""
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    y = np.arange(N) % 3
    for i in range(N):
        pixels = rng.integers(0, 60, (16, 16, 3))
        pixels[..., y[i]] += 150
        (tmp_path / "set").mkdir(exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(tmp_path / "set" / f"{i:02d}.png")
    Z = (6 * np.eye(3, 5)[y] + 0.5 * rng.normal(size=(N, 5))).astype(np.float32)
    split = np.where(np.arange(N) < 45, "train", "test")
    ids = np.array([f"{i:02d}.png" for i in range(N)])
    Embeddings(Z, ids, y, split, ("red", "green", "blue")).save(tmp_path / "e.parquet")
    return tmp_path


def run(*args: str, code: int = 0) -> str:
    return invoke("cluster", *args, code=code)


def test_all_outputs(folder: Path) -> None:
    text = run(
        "e.parquet", "--k", "auto", "--images", "set", "--map", "pca", "--png", "m.png", "-o", "t.parquet",
        "--json", "c.json", "--html", "c.html",
    )  # fmt: skip
    assert "60 images, kmeans, l2: 3 clusters" in text and "ARI 1.000" in text and "k = 3 has the largest" in text
    numbers = json.loads((folder / "c.json").read_text())
    assert numbers["k"] == 3 and numbers["accuracy"] == 1 and numbers["chosen"]["k"] == 3
    table = pq.read_table(folder / "t.parquet")
    assert table.column_names == ["path", "split", "label", "x", "y", "cluster"]
    cluster, label = np.array(table["cluster"].to_pylist()), np.array(table["label"].to_pylist())
    assert len(set(zip(cluster.tolist(), label.tolist(), strict=True))) == 3
    coords = np.stack([table["x"].to_numpy(), table["y"].to_numpy()], axis=1)
    for c, centre in enumerate(numbers["map"]["centres"]):
        assert centre == pytest.approx(coords[cluster == c].mean(axis=0).tolist(), abs=1e-4)
    with Image.open(folder / "m.png") as picture:
        assert picture.size[0] > 500
    page = (folder / "c.html").read_text()
    assert page.count("<h2>Cluster") == 3 and page.count("<img") == 60 and "borderline" in page
    for item in numbers["clusters"]:
        assert item["central_ids"][0] in page


def test_a_split_leaves_the_other_rows_null(folder: Path) -> None:
    run("e.parquet", "--k", "3", "--split", "test", "-o", "t.parquet")
    cluster = pq.read_table(folder / "t.parquet")["cluster"].to_pylist()
    assert cluster[:45] == [None] * 45 and set(cluster[45:]) == {0, 1, 2}


def test_hdbscan_and_vectors_from_elsewhere(folder: Path) -> None:
    np.save(folder / "v.npy", Embeddings.load(folder / "e.parquet").Z)
    text = run("v.npy", "--algorithm", "hdbscan", "--min-size", "8", "--map", "tsne", "--json", "c.json")
    numbers = json.loads((folder / "c.json").read_text())
    assert "noise" in text and numbers["k"] == 3 and numbers["ari"] is None
    assert numbers["map"]["kind"] == "tsne" and len(numbers["map"]["centres"]) == 3


def test_no_structure_is_said(folder: Path) -> None:
    np.save(folder / "n.npy", np.random.default_rng(0).normal(size=(80, 40)))
    assert "no substantial structure" in run("n.npy", "--k", "4")
    assert "Fewer than 2 clusters" in run("n.npy", "--algorithm", "hdbscan", "--min-size", "30")


def test_a_choice_of_k_is_called_weak_where_others_are_as_good() -> None:
    assert "k = 4 are as good" in _choice(ChosenK(3, {2: 0.1, 3: 0.2, 4: 0.197, 5: None}, 100))
    assert _choice(ChosenK(3, {2: 0.1, 3: 0.2}, 100)).endswith("(0.200) of k = 2 to 3.")
    assert "No k has a silhouette" in _choice(ChosenK(2, {2: None}, 4))


def test_refusals(folder: Path) -> None:
    assert "k is 61; with 60 images it must be between 2 and 60" in run("e.parquet", "--k", "61", code=2)
    assert "k is 1" in run("e.parquet", "--k", "1", code=2)
    assert "k is -3" in run("e.parquet", "--k", "-3", code=2)
    assert "or 'auto'" in run("e.parquet", "--k", "2.5", code=2)
    assert "Did you mean 'hdbscan'" in run("e.parquet", "--algorithm", "hdbscn", code=2)
    assert "Legal: pca, tsne" in run("e.parquet", "--map", "umap", code=2)
    assert "needs --map" in run("e.parquet", "--png", "m.png", code=2)
    assert "written as .png" in run("e.parquet", "--map", "pca", "--png", "m.jpg", code=2)
    assert "needs --images" in run("e.parquet", "--html", "c.html", code=2)
    assert "--split can be: all, test, train" in run("e.parquet", "--split", "val", code=2)
    assert "--examples is 0" in run("e.parquet", "--examples", "0", code=2)
    assert "must be between 2 and 60" in run("e.parquet", "--algorithm", "hdbscan", "--min-size", "99", code=2)
    assert "no embeddings at" in run("no.parquet", code=3)


def test_bad_vectors(folder: Path) -> None:
    np.save(folder / "same.npy", np.ones((20, 4)))
    np.save(folder / "one.npy", np.ones((1, 4)))
    zero = np.random.default_rng(0).normal(size=(20, 4))
    zero[7] = 0
    np.save(folder / "zero.npy", zero)
    zero[7] = np.nan
    np.save(folder / "nan.npy", zero)
    assert "are the same" in run("same.npy", "--k", "3", code=3)
    assert "are the same" in run("same.npy", "--k", "auto", code=3)
    assert "at least 2 images" in run("one.npy", "--k", "2", code=3)
    assert "first in row 7" in run("nan.npy", "--k", "3", code=3)
    assert "are all 0, first in row 7" in run("zero.npy", "--k", "3", "--metric", "cosine", code=3)
    assert "3 clusters" in run("zero.npy", "--k", "3")


def test_ids_that_do_not_match(folder: Path) -> None:
    np.save(folder / "v.npy", Embeddings.load(folder / "e.parquet").Z)
    found = run("v.npy", "--k", "3", "--images", "set", "--html", "c.html", code=3)
    assert "60 of 60 ids are not in it" in found
    run("e.parquet", "--k", "3", "-o", "t.parquet")
    assert "table of other images" in run("v.npy", "--k", "3", "-o", "t.parquet", code=3)


def test_a_disk_that_refuses(folder: Path) -> None:
    (folder / "file").write_text("")
    assert "cannot write" in run("e.parquet", "--k", "3", "--map", "pca", "--png", "file/m.png", code=4)
