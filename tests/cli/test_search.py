"""nearkin search and nearkin hubs, in-process: what they print, what they write, what they refuse."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from nearkin.cli import app
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError, NearkinError
from nearkin.runs.embed import embed_run
from nearkin.runs.fit import fit_run

CLASSES = ("dark", "light")


def call(*args: object) -> str:
    done = CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


def refused(kind: type[NearkinError], *args: object) -> str:
    with pytest.raises(kind) as caught:
        CliRunner().invoke(app, [str(a) for a in args], catch_exceptions=False)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of two classes, a PCA run on it and the embeddings it makes."""
    here = tmp_path_factory.mktemp("search")
    rng = np.random.default_rng(0)
    for i in range(60):
        folder = here / "set" / CLASSES[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 120, (16, 16, 3)) + 130 * (i % 2)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i:02d}.png")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARKIN_CACHE", str(here / "cache"))
        data, run = str(here / "set"), here / "run"
        where = {"subset": None, "labels": None, "strict": False, "device": "cpu", "progress": False}
        fit_run(data, run, "pca", {"components": 8}, seed=0, size=None, **where)  # type: ignore[arg-type]
        embed_run(run, data, here / "e.parquet", layer=None, **where)  # type: ignore[arg-type]
    return here


@pytest.fixture(autouse=True)
def cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARKIN_CACHE", str(root / "cache"))


def test_grid_precision_sheet_json_and_table(root: Path, tmp_path: Path) -> None:
    html, numbers, table = tmp_path / "s.html", tmp_path / "s.json", tmp_path / "t.parquet"
    written = ("--html", html, "--images", root / "set", "--json", numbers, "-o", table)
    text = call("search", root / "e.parquet", "--k", 3, "--metric", "l2", *written)
    assert "60 images searched exactly, distances L2" in text and "precision@3" in text
    found = json.loads(numbers.read_text())
    assert [a["label"] for a in found["answers"]] == list(CLASSES) and found["precision"]["overall"]["precision"] == 1
    loaded = Embeddings.load(root / "e.parquet")
    for answer in found["answers"]:
        assert len(answer["nearest"]) == len(answer["farthest"]) == 3
        assert {h["label"] for h in answer["nearest"]} == {answer["label"]} != {h["label"] for h in answer["farthest"]}
        assert answer["id"] not in [h["id"] for h in answer["nearest"]]
        hit = answer["nearest"][0]
        gap = np.linalg.norm(loaded.Z[answer["row"]].astype(np.float64) - loaded.Z[hit["row"]])
        assert hit["distance"] == pytest.approx(gap, rel=1e-5) and loaded.ids[hit["row"]] == hit["id"]
    assert html.read_text().count("data:image/png") == 2 * 2 * 4
    rows = pq.read_table(table)
    assert rows["path"].to_pylist() == loaded.ids.tolist() and sum(rows["hubness"].to_pylist()) == 600
    first = rows["neighbors"][0].as_py()
    gaps = np.linalg.norm(loaded.Z - loaded.Z[0], axis=1)
    assert first["ids"] == np.argsort(gaps)[1:4].tolist()


def test_ids_and_rows(root: Path) -> None:
    loaded = Embeddings.load(root / "e.parquet")
    text = call("search", root / "e.parquet", loaded.ids[4], "row:7", "8", "--k", 1, "--no-farthest")
    for row in (4, 7, 8):
        assert f"{loaded.ids[row]} (" in text
    assert text.count("nearest") == 3 and "farthest" not in text and "precision" not in text


def test_split_limits_what_is_searched_and_the_table_keeps_all_rows(root: Path, tmp_path: Path) -> None:
    loaded = Embeddings.load(root / "e.parquet")
    train = np.flatnonzero(loaded.split == "train")
    test_row = int(np.flatnonzero(loaded.split == "test")[0])
    numbers, table = tmp_path / "n.json", tmp_path / "t.parquet"
    split = ("--split", "train", "--json", numbers, "-o", table)
    call("search", root / "e.parquet", f"row:{test_row}", "--k", 4, *split)
    answer = json.loads(numbers.read_text())["answers"][0]
    assert answer["row"] == test_row and {h["row"] for h in answer["nearest"]} < set(train.tolist())
    call("hubs", root / "e.parquet", "--split", "train", "-o", table)
    rows = pq.read_table(table)
    assert set(rows.column_names) >= {"neighbors", "hubness", "farthest_occurrence"} and len(rows) == 60
    for row, (near, count) in enumerate(zip(rows["neighbors"].to_pylist(), rows["hubness"].to_pylist(), strict=True)):
        inside = row in train
        assert (count is not None) == inside and len(near["ids"]) == (4 if inside else 0)
        assert set(near["ids"]) <= set(train.tolist()) - {row}


def test_files_and_folders_are_embedded_by_the_run(root: Path, tmp_path: Path) -> None:
    twin = root / "set" / "dark" / "04.png"
    folder = tmp_path / "asked"
    folder.mkdir()
    Image.open(twin).resize((40, 30)).save(folder / "wide.jpg")
    (folder / "broken.png").write_text("no image")
    html = tmp_path / "s.html"
    also = ("--run", root / "run", "--k", 2, "--html", html, "--images", root / "set")
    text = call("search", root / "e.parquet", twin, folder, *also)
    assert "skipped" in text and "broken.png" in text and f"{folder}/wide.jpg" in text
    lines = text.splitlines()
    first = lines[lines.index(str(twin)) + 1].split()
    assert first[:1] + first[2:] == ["nearest", "dark", "dark/04.png"]  # a file is no row: its twin is found, at 0
    assert float(first[1]) < 1e-6
    assert html.read_text().count("data:image/png") == 2 * 2 * 3


def test_a_run_inside_a_study_takes_its_image_size_from_there(root: Path, tmp_path: Path) -> None:
    run = tmp_path / "study" / "runs" / "pca-s0"
    shutil.copytree(root / "run", run)
    config = json.loads((run / "config.json").read_text())
    del config["image_size"]
    (run / "config.json").write_text(json.dumps(config))
    Image.new("RGB", (50, 40), (9, 9, 9)).save(tmp_path / "other.png")
    args = ("search", root / "e.parquet", tmp_path / "other.png", "--run", run, "--k", 1, "--no-farthest")
    assert "does not say its image size" in refused(ConfigError, *args)
    (tmp_path / "study" / "data.json").write_text(json.dumps({"image_shape": [3, 16, 16]}))
    assert "dark" in call(*args)


def test_queries_that_are_refused(root: Path, tmp_path: Path) -> None:
    e, picture = root / "e.parquet", root / "set" / "dark" / "04.png"
    assert "Did you mean 'dark/04.png'" in refused(ConfigError, "search", e, "drak/04.png")
    assert "rows go from 0 to 59" in refused(ConfigError, "search", e, "row:60")
    assert "give --run" in refused(ConfigError, "search", e, picture)
    assert "no run at" in refused(DataError, "search", e, picture, "--run", tmp_path)
    (tmp_path / "empty").mkdir()
    assert "no images in" in refused(DataError, "search", e, tmp_path / "empty", "--run", root / "run")
    (tmp_path / "text.png").write_text("no image")
    assert "not an image" in refused(DataError, "search", e, tmp_path / "text.png", "--run", root / "run")
    assert "Legal: components" in refused(ConfigError, "search", e, picture, "--run", root / "run", "--layer", "x")
    assert "between 1 and 59" in refused(ConfigError, "search", e, "--k", 60)
    assert "between 1 and 59" in refused(ConfigError, "search", e, "--k", 0)
    assert "Did you mean 'cosine'" in refused(ConfigError, "search", e, "--metric", "cosin")
    assert "needs --images" in refused(ConfigError, "search", e, "--html", "x.html")
    assert "--split can be: all, test, train, val" in refused(ConfigError, "search", e, "--split", "tests")


def test_a_table_of_other_images_is_refused_and_kept(root: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "other.npy", np.eye(20, 9, dtype=np.float32))
    call("search", tmp_path / "other.npy", "-o", tmp_path / "t.parquet")
    before = (tmp_path / "t.parquet").read_bytes()
    for command in ("search", "hubs"):
        assert "other images" in refused(DataError, command, root / "e.parquet", "-o", tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").read_bytes() == before


def test_vectors_of_another_run_or_width(root: Path, tmp_path: Path) -> None:
    picture = root / "set" / "dark" / "04.png"
    np.save(tmp_path / "wide.npy", np.eye(20, 9, dtype=np.float32))
    text = refused(DataError, "search", tmp_path / "wide.npy", picture, "--run", root / "run")
    assert "gives 8 dimensions; the embeddings have 9" in text
    loaded = Embeddings.load(root / "e.parquet")
    other = Embeddings(loaded.Z, loaded.ids, None, loaded.split, (), loaded.provenance | {"seed": 1})
    other.save(tmp_path / "other.parquet")
    text = refused(ConfigError, "search", tmp_path / "other.parquet", picture, "--run", root / "run")
    assert "another seed" in text


def test_odd_vectors(root: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "same.npy", np.ones((12, 3), dtype=np.float32))
    assert "identical" in call("search", tmp_path / "same.npy") and "identical" in call("hubs", tmp_path / "same.npy")
    np.save(tmp_path / "zero.npy", np.eye(12, 3, dtype=np.float32))
    text = call("search", tmp_path / "zero.npy")
    assert "9 of 12 vectors are zero" in text and "no labels" in text
    np.save(tmp_path / "nan.npy", np.full((12, 3), np.nan, dtype=np.float32))
    for command in ("search", "hubs"):
        assert "NaN" in refused(DataError, command, tmp_path / "nan.npy")
        np.save(tmp_path / "one.npy", np.ones((1, 3), dtype=np.float32))
        assert "too few" in refused(DataError, command, tmp_path / "one.npy")


def test_hubs_prints_writes_and_draws(root: Path, tmp_path: Path) -> None:
    html, numbers = tmp_path / "h.html", tmp_path / "h.json"
    also = ("--html", html, "--images", root / "set", "--json", numbers)
    text = call("hubs", root / "e.parquet", "--k", 5, "--metric", "l2", *also)
    for word in ("skewness", "mutual-proximity", "local-scaling", "nicdm", "csls", "precision@5", "pixel mean"):
        assert word in text
    found = json.loads(numbers.read_text())
    for kind, items in (("hub", found["hubs"]), ("farthest", found["farthest_images"])):
        assert items and re.search(rf"{kind} +in {items[0]['count']} lists .* {re.escape(items[0]['id'])}\n", text)
    assert set(found["remedies"]) == {"none", "mutual-proximity", "local-scaling", "nicdm", "csls"}
    listed = len(found["hubs"]) + len(found["antihubs"]) + len(found["farthest_images"])
    assert html.read_text().count("data:image/png") == listed > 0
    assert "between 1 and 59" in refused(ConfigError, "hubs", root / "e.parquet", "--k", 60, "--candidates", 99)
    assert "at least k = 10" in refused(ConfigError, "hubs", root / "e.parquet", "--candidates", 9)
    assert "needs --images" in refused(ConfigError, "hubs", root / "e.parquet", "--html", "x.html")
