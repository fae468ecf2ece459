"""nearkin factors, in process, on the built-in images."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from nearkin.cli import app
from nearkin.data import ImageSet
from nearkin.data.sources import load_all
from nearkin.embeddings import Embeddings
from nearkin.factors.factors import pixel_vectors
from tests.cli.inprocess import invoke

N = 400


@pytest.fixture(scope="module")
def embeddings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An embedding that knows the class and nothing else."""
    path = tmp_path_factory.mktemp("factors") / "e.parquet"
    train = _all_shapes().take(np.arange(N))
    assert train.labels is not None
    Z = np.eye(8)[train.labels] + 0.1 * np.random.default_rng(0).normal(size=(N, 8))
    split = np.array(["train"] * 200 + ["val"] * 50 + ["test"] * 150)
    Embeddings(Z.astype(np.float32), train.ids, train.labels, split, train.classes).save(path)
    return path


@pytest.fixture(autouse=True)
def drawn_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The built-in images take a second to draw; all tests here share them."""
    monkeypatch.setattr("nearkin.data.sources.load_all", lambda *args, **settings: _all_shapes())


@cache
def _all_shapes() -> ImageSet:
    return load_all("shapes")


def run(*args: str, code: int = 0) -> str:
    return invoke("factors", *args, code=code)


def test_table_statement_and_files(embeddings: Path, tmp_path: Path) -> None:
    text = run(
        str(embeddings), "--images", "shapes", "--json", str(tmp_path / "f.json"), "--html", str(tmp_path / "f.html")
    )
    assert "10 nearest of 150 images" in text and "background hue" in text and "pixels, l2" in text
    assert "Neighbours agree most in class" in text and "gain most in class" in text
    numbers = json.loads((tmp_path / "f.json").read_text())
    assert numbers["dominance"]["dominant"] == "class" and numbers["split"] == "test" and numbers["seed"] == 0
    by = {row["factor"]: row for row in numbers["agreement"]["factors"]}
    assert by["class"]["value"] > 0.9 and abs(by["x"]["value"]) < 0.1 and by["class"]["given_class"] is None
    assert numbers["probe"]["factors"][0]["linear_accuracy"] > 0.95 and numbers["raw_pixels"]["n"] == 150
    page = (tmp_path / "f.html").read_text()
    assert "Alike in class, not in background" in page and page.count('class="cell mark"') == 8


def test_parts_can_be_left_out(embeddings: Path) -> None:
    text = run(str(embeddings), "--images", "shapes", "--no-probe", "--no-raw-pixels", "--max-images", "60", "--k", "4")
    assert "4 nearest of 60 images" in text and "pixels" not in text and "linear" not in text


def test_an_embedding_without_splits_or_labels(tmp_path: Path) -> None:
    part = _all_shapes().take(np.arange(120))
    np.savez(tmp_path / "p.npz", embedding=pixel_vectors(part.images), id=part.ids)
    text = run(str(tmp_path / "p.npz"), "--images", "shapes", "--split", "all", "--html", str(tmp_path / "f.html"))
    assert "held out as test" in text and "10 nearest of 120" in text and "\n  class" not in text
    assert "Images and their neighbours" in (tmp_path / "f.html").read_text()


def test_refusals(embeddings: Path, tmp_path: Path) -> None:
    found = run(str(embeddings), "--images", "shapes", "--split", "tset", code=2)
    assert "can be: all, test, train, val" in found
    assert "k is 150; with 150 images" in run(str(embeddings), "--images", "shapes", "--k", "150", code=2)
    assert "k is 0" in run(str(embeddings), "--images", "shapes", "--k", "0", code=2)
    for flag in ("--metric", "--pixel-metric"):
        assert "Did you mean 'cosine'" in run(str(embeddings), "--images", "shapes", flag, "cosin", code=2)
    assert "at least 2 are needed" in run(str(embeddings), "--images", "shapes", "--max-images", "1", code=2)
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(30, 4)))
    assert "ids are not in it" in run(str(tmp_path / "v.npy"), "--images", "shapes", code=3)


def test_images_are_required(embeddings: Path) -> None:
    found = CliRunner().invoke(app, ["factors", str(embeddings)])
    assert found.exit_code == 2 and "--images" in found.output
