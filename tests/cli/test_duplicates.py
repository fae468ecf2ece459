"""nearkin duplicates: summary, files, exit codes, and what is refused in one line."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter
from typer.testing import CliRunner, Result

from nearkin.cli import app
from nearkin.duplicates.audit import AuditSettings, audit
from nearkin.embeddings import Embeddings
from nearkin.errors import NearkinError

N_TRAIN, N_TEST = 60, 30


def pictures(n: int, seed: int) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(n, 32, 32))
    mixed = 250 * gaussian_filter(noise, (0, 1.6, 1.6)) + 600 * gaussian_filter(noise, (0, 4.5, 4.5))
    return np.clip(128 + mixed, 0, 255).astype(np.uint8)


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with train and test; test 0 to 4 are brighter copies of train 0 to 4, test 5 is train 5 itself."""
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    train, test = pictures(N_TRAIN, 0), pictures(N_TEST, 1)
    test[:5], test[5] = np.clip(train[:5].astype(int) + 15, 0, 255), train[5]
    ids = []
    for split, images in (("train", train), ("test", test)):
        (tmp_path / "set" / split).mkdir(parents=True)
        for i, image in enumerate(images):
            Image.fromarray(np.stack([image] * 3, axis=2)).save(tmp_path / "set" / split / f"{i:02d}.png")
            ids.append(f"{split}/{i:02d}.png")
    images = np.concatenate([train, test]).reshape(-1, 8, 4, 8, 4).mean(axis=(2, 4)).reshape(-1, 64)
    Z = (images - images.mean(axis=1, keepdims=True)).astype(np.float32)
    split = np.array(["train"] * N_TRAIN + ["test"] * N_TEST)
    Embeddings(Z, np.array(ids), None, split).save(tmp_path / "e.parquet")
    return tmp_path


def run(*args: str) -> Result:
    return CliRunner().invoke(app, ["duplicates", *args])


def refused(code: int, *args: str) -> str:
    """The message of the error that a call ends with."""
    done = run(*args)
    assert isinstance(done.exception, NearkinError) and done.exception.exit_code == code, (done.output, done.exception)
    return str(done.exception)


def test_test_images_in_train(project: Path) -> None:
    done = run("e.parquet", "--images", "set", "--across", "train,test", "-o", "t.parquet", "--pairs", "p.csv",
               "--json", "d.json", "--html", "s.html")  # fmt: skip
    assert done.exit_code == 0, done.output
    assert "test in train: 6 of 30 images have a near-duplicate, 20.00 % (9.51 to 37.31, Wilson" in done.output
    assert "within test: 0 of 30" in done.output and "1 of them the same in every pixel" in done.output
    assert "same pixels  test/05.png  train/05.png" in done.output
    assert sum(line.startswith("  score 0.") or line.startswith("  score 1.") for line in done.output.splitlines()) == 5
    table = pq.read_table("t.parquet").to_pydict()
    sets = dict(zip(table["path"], table["near_duplicate_set"], strict=True))
    for i in range(6):
        assert sets[f"train/{i:02d}.png"] == sets[f"test/{i:02d}.png"] >= 0
    assert sum(value >= 0 for value in sets.values()) == 12 and len(set(sets.values())) == 7
    pairs = pyarrow.csv.read_csv("p.csv").to_pydict()
    assert sorted(zip(pairs["a"], pairs["b"], strict=True)) == [
        (f"test/{i:02d}.png", f"train/{i:02d}.png") for i in range(6)
    ]
    assert sum(pairs["exact"]) == 1 and all(pairs["verified"]) and min(pairs["detail"]) > 0.9
    found = json.loads(Path("d.json").read_text())
    assert found["searches"]["test in train"]["interval"]["images"] == 6
    assert found["searches"]["test in train"]["calibration"]["evaluation"]["recall"] > 0.5
    assert found["groups"]["connected_components"] == {"groups": 6, "images": 12, "largest": 2}
    assert Path("s.html").read_text().count("data:image/png") == 12


def test_within_all_splits_and_look_alikes(project: Path) -> None:
    done = run("e.parquet", "--images", "set", "--lookalikes", "3", "--json", "d.json", "--pairs", "p.parquet")
    assert done.exit_code == 0, done.output
    assert "within all images: 12 of 90" in done.output and "test in train: 6 of 30" in done.output
    assert "train in test: 6 of 60" in done.output and "alike in pixels: 12 of 90" in done.output
    found = json.loads(Path("d.json").read_text())
    assert len(found["lookalikes"]["pairs"]) == 3 and found["lookalikes"]["pairs"][0]["a"].endswith(".png")
    assert pq.read_table("p.parquet").num_rows == 6
    assert "within test: 0 of 30" in run("e.parquet", "--images", "set", "--split", "test").output


def test_exit_codes_for_continuous_integration(project: Path) -> None:
    across = ["e.parquet", "--images", "set", "--across", "train,test"]
    assert run(*across, "--fail-over", "0.2").exit_code == 0
    over = run(*across, "--fail-over", "0.19")
    assert over.exit_code == 1 and "20.00 % of images have one, more than 19 %" in over.output
    assert run("e.parquet", "--threshold", "0.01", "--fail-if-any").exit_code == 1
    assert run("e.parquet", "--images", "set", "--split", "test", "--fail-if-any").exit_code == 0


def test_against_another_file(project: Path) -> None:
    whole = Embeddings.load(Path("e.parquet"))
    whole.part("train").save(Path("train.parquet"))
    whole.part("test").save(Path("test.parquet"))
    both = ["--against", "train.parquet", "--against-images", "set"]
    done = run("test.parquet", "--images", "set", *both, "-o", "t.parquet", "--html", "s.html", "--pairs", "p.csv")
    assert done.exit_code == 0 and "images in train.parquet: 6 of 30" in done.output, done.output
    assert pq.read_table("t.parquet")["near_duplicate_set"].to_pylist() == [0, 1, 2, 3, 4, 5] + [-1] * 24
    assert pyarrow.csv.read_csv("p.csv")["b"].to_pylist()[0].startswith("train/")
    np.save("other.npy", np.ones((4, 3)))
    assert "3 dimensions" in refused(3, "test.parquet", "--against", "other.npy", "--threshold", "0.1")


def test_without_images_distances_are_called_unverified(project: Path) -> None:
    done = run("e.parquet", "--across", "train,test", "--threshold", "0.01", "-o", "t.parquet", "--pairs", "p.csv")
    assert done.exit_code == 0 and "test in train: 6 of 30" in done.output and "unverified" in done.output
    assert "score" not in pyarrow.csv.read_csv("p.csv").column_names
    assert "--threshold" in refused(2, "e.parquet", "--across", "train,test")


def test_what_does_not_go_together_is_refused_before_anything_is_read(project: Path) -> None:
    images = ["e.parquet", "--images", "set"]
    assert "neither --split nor --against" in refused(2, *images, "--across", "train,test", "--split", "test")
    assert "two splits" in refused(2, *images, "--across", "train")
    assert "share images" in refused(2, *images, "--across", "train,train")
    assert "--split can be: all, test, train" in refused(2, *images, "--across", "train,tset")
    assert "expected auto or a number" in refused(2, *images, "--threshold", "high")
    assert "between 0 and 1" in refused(2, *images, "--threshold", "2")
    assert ".csv or .parquet" in refused(2, *images, "--pairs", "p.json")
    assert "share between 0 and 1" in refused(2, *images, "--fail-over", "5")
    assert "--k is 0" in refused(2, *images, "--k", "0")
    assert "--against-images belongs" in refused(2, *images, "--against-images", "set")
    assert "or neither" in refused(2, *images, "--against", "e.parquet")
    for flags in (["--run", "r"], ["--lookalikes", "3"], ["--html", "s.html"]):
        assert "needs --images" in refused(2, "e.parquet", "--threshold", "0.1", *flags)
    assert not Path("s.html").exists()


def test_ids_that_do_not_match(project: Path) -> None:
    whole = Embeddings.load(Path("e.parquet"))
    Embeddings(whole.Z, np.array([f"x{i}" for i in range(90)]), None, whole.split).save(Path("x.parquet"))
    message = refused(3, "x.parquet", "--images", "set")
    assert "90 of 90 ids" in message and "'x0'" in message and "\n" not in message


def test_turned_and_inverted_copies_are_found_unless_they_are_not_asked_for(project: Path) -> None:
    """Train 6 to 13 stand in test as 6 to 13: upside down, turned by a quarter, inverted, in an embedding of noise."""
    changes = (np.flipud, np.rot90, lambda x: 255 - x, lambda x: 255 - np.rot90(x, 2))
    for i in range(6, 14):
        image = np.asarray(Image.open(f"set/train/{i:02d}.png"))
        Image.fromarray(np.ascontiguousarray(changes[i % 4](image))).save(f"set/test/{i:02d}.png")
    made = Embeddings.load(Path("e.parquet"))
    noise = np.random.default_rng(0).normal(size=made.Z.shape).astype(np.float32)
    dataclasses.replace(made, Z=noise).save(Path("n.parquet"))
    command = ["n.parquet", "--images", "set", "--across", "train,test", "--json", "d.json", "--pairs", "p.csv"]
    done = run(*command, "--html", "s.html")
    assert done.exit_code == 0 and "turned or inverted: 8 of the pairs, score at least" in done.output, done.output
    turned = json.loads(Path("d.json").read_text())["searches"]["test in train"]["turned"]
    assert turned["pairs"] == 8 and turned["threshold"] > 0.9
    pairs = pyarrow.csv.read_csv("p.csv").to_pydict()
    named = dict(zip(pairs["a"], pairs["orientation"], strict=True))
    assert [named[f"test/{i:02d}.png"] for i in range(6, 10)] == [
        "inverted", "half turn, inverted", "upside down", "quarter turn",
    ]  # fmt: skip
    assert "half turn, inverted" in Path("s.html").read_text()
    done = run(*command, "--no-turned")
    assert "turned or inverted" not in done.output
    assert "turned" not in json.loads(Path("d.json").read_text())["searches"]["test in train"]


@pytest.mark.slow
def test_a_run_brings_the_distance_into_the_score_and_another_run_is_refused(project: Path) -> None:
    """Untrained encoders are runs, too; one of another seed did not make these vectors."""
    from nearkin.runs.embed import embed_run
    from nearkin.runs.fit import fit_run

    free = {"subset": None, "labels": None, "strict": False, "device": "cpu", "progress": False}
    for seed in (0, 1):
        fit_run("set", Path(f"run{seed}"), "random-init", {}, seed=seed, size=None, **free)
    embed_run(Path("run0"), "set", Path("r.parquet"), layer=None, **free)
    done = run("r.parquet", "--images", "set", "--across", "train+val,test", "--run", "run0", "--json", "d.json")
    assert done.exit_code == 0 and "test in train+val: 6 of 30" in done.output, (done.output, done.exception)
    features = json.loads(Path("d.json").read_text())["searches"]["test in train+val"]["calibration"]["features"]
    assert features["relative_distance"] < 0
    assert "run1 did not make these embeddings" in refused(2, "r.parquet", "--images", "set", "--run", "run1")


@pytest.mark.parametrize(("said", "side"), [(16, 16), (None, 32), ("16", 32), (4, 32)])
def test_images_are_looked_at_in_the_size_that_was_embedded(project: Path, said: object, side: int) -> None:
    loaded = dataclasses.replace(Embeddings.load(project / "e.parquet"), provenance={"image_size": said})
    images = audit(loaded, AuditSettings("set", threshold=0.5)).images
    assert images is not None and images.shape == (N_TRAIN + N_TEST, 3, side, side)
