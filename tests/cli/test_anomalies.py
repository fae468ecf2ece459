"""nearkin anomalies, as a user would run it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from nearkin.cli import app
from nearkin.embeddings import Embeddings
from nearkin.errors import NearkinError


def run(*args: str | Path) -> str:
    done = CliRunner().invoke(app, ["anomalies", *map(str, args)], env={"COLUMNS": "120"})
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def refused(code: int, *args: str | Path) -> str:
    done = CliRunner().invoke(app, ["anomalies", *map(str, args)])
    assert isinstance(done.exception, NearkinError), (done.output, done.exception)
    assert done.exception.exit_code == code and "\n" not in str(done.exception)
    return str(done.exception)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Gray-ish photographs (.npz), their pixels' embedding, bars as digits, and the run that embeds pixels."""
    from nearkin.runs.embed import embed_run
    from nearkin.runs.fit import fit_run

    root = tmp_path_factory.mktemp("anomalies")
    rng = np.random.default_rng(0)
    images = rng.integers(60, 180, (130, 16, 16, 3)).astype(np.uint8)
    images[0] = 255
    np.savez(root / "photos.npz", images=images, labels=np.arange(130) % 2)
    bars = np.zeros((40, 16, 16), dtype=np.uint8)
    bars[:, 3:13, 6:9] = 255
    bars[::2, 3:13, 9:11] = 255
    np.savez(root / "bars.npz", images=bars, labels=np.arange(40) % 2)
    options = {"labels": None, "subset": None, "strict": False, "device": "cpu", "progress": False}
    data = str(root / "photos.npz")
    fit_run(data, root / "run", "raw-pixels", {}, seed=0, size=None, **options)
    embed_run(root / "run", data, root / "photos.parquet", layer=None, **options)
    return root


def test_ranks_a_set_and_writes_table_json_and_sheet(work: Path, tmp_path: Path) -> None:
    table, numbers, sheet = tmp_path / "t.parquet", tmp_path / "n.json", tmp_path / "s.html"
    text = run(
        work / "photos.parquet", "--score", "knn2,mahalanobis", "--train-split", "all", "-q", "-o", table,
        "--json", numbers, "--html", sheet, "--images", work / "photos.npz",
    )  # fmt: skip
    assert "train/000000" in text.splitlines()[1] and "anomaly_score: knn2" in text
    written = pq.read_table(table)
    assert written.column_names == ["path", "split", "label", "anomaly_score", "anomaly_score_mahalanobis"]
    scores = np.array(written["anomaly_score"].to_pylist())
    assert written["path"].to_pylist()[int(scores.argmax())] == "train/000000"
    found = json.loads(numbers.read_text())
    assert found["ranked"]["knn2"]["most"][0]["id"] == "train/000000" and found["train_split"] == "all"
    html = sheet.read_text()
    assert html.count("data:image/png") == 4 * 28 and "http" not in html.split("<style>")[0]


def test_vectors_against_vectors(work: Path, tmp_path: Path) -> None:
    Z = Embeddings.load(work / "photos.parquet").Z
    np.save(tmp_path / "far.npy", Z[:20] - 3)
    text = run(work / "photos.parquet", "--ood", tmp_path / "far.npy", "--json", tmp_path / "n.json")
    found = json.loads((tmp_path / "n.json").read_text())["ood"]["far"]["knn2"]
    assert found["AUROC"] == 1 and found["n_in"] == 13 and "test split" in text and "against far" in text


def test_several_foreign_sets(work: Path, tmp_path: Path) -> None:
    Z = Embeddings.load(work / "photos.parquet").Z
    (tmp_path / "other").mkdir()
    for path, shift in ((tmp_path / "far.npy", 3), (tmp_path / "other" / "far.npy", 0.01)):
        np.save(path, Z[:20] - np.float32(shift))
    args = [work / "photos.parquet", "--ood", tmp_path / "far.npy", "--ood", tmp_path / "other" / "far.npy"]
    text = run(*args, "--json", tmp_path / "n.json")
    found = json.loads((tmp_path / "n.json").read_text())["ood"]
    assert list(found) == ["far", str(tmp_path / "other" / "far.npy")] and "against far" in text
    assert found["far"]["knn2"]["AUROC"] == 1 > found[str(tmp_path / "other" / "far.npy")]["knn2"]["AUROC"]


def test_variants_are_made_of_the_gray_sets(work: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    np.savez(tmp_path / "colours.npz", images=rng.integers(60, 180, (20, 16, 16, 3)).astype(np.uint8))
    run(work / "photos.parquet", "--ood", tmp_path / "colours.npz", "--ood", work / "bars.npz", "--run", work / "run",
        "--images", work / "photos.npz", "--variants", "-q", "--k", "5", "--json", tmp_path / "n.json")  # fmt: skip
    sets = json.loads((tmp_path / "n.json").read_text())["table"]["sets"]
    assert [item["name"] for item in sets if item["of"] == "colours"] == ["colours"]
    assert {item["kind"] for item in sets if item["name"] in ("bars", "bars-padded")} == {"far"}
    assert [item["kind"] for item in sets if item["name"] == "colours"] == ["near"]


def test_eighty_columns_cut_no_number(work: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "far.npy", np.full((5, 768), 9, dtype=np.float32))
    args = [str(work / "photos.parquet"), "--ood", str(tmp_path / "far.npy"), "--score", "all"]
    done = CliRunner().invoke(app, ["anomalies", *args], env={"COLUMNS": "80"})
    assert done.exit_code == 0 and "mahalanobis" in done.output and "FPR@95" in done.output
    assert "…" not in done.output and max(len(line) for line in done.output.splitlines()) <= 80


def test_images_against_images_with_trivial_scores_and_variants(work: Path, tmp_path: Path) -> None:
    args = [
        work / "photos.parquet",
        "--ood",
        work / "bars.npz",
        "--run",
        work / "run",
        "--device",
        "cpu",
        "-q",
        "--k",
        "5",
    ]
    text = run(*args, "--score", "knn2,knn-norm", "--images", work / "photos.npz", "--variants", "--one-class",
               "--json", tmp_path / "n.json", "--html", tmp_path / "s.html")  # fmt: skip
    found = json.loads((tmp_path / "n.json").read_text())
    sets = [item["name"] for item in found["table"]["sets"]]
    assert sets == [
        "bars",
        "bars-bilinear",
        "bars-padded",
        "bars-inverted",
        "bars-recoloured",
        "bars-recoloured-unseen",
    ]
    assert {row["method"] for row in found["table"]["rows"]} == {"run", "trivial"}
    assert found["ood"]["bars"]["knn2"]["AUROC"] == 1 and found["table"]["verdict"]["methods"][0]["earned"] is False
    assert found["table"]["details"]["run"]["digits"]["bars"]["knn2"]["per_digit"][0]["digit"] == "0"
    assert "needs no learning" in text and "not earned" in text and "AUROC per class" in text
    assert "Together with bars-recoloured" in (tmp_path / "s.html").read_text()
    bare = run(*args)  # no images of the vectors: scores alone
    assert "against bars" in bare and "pixel-knn" not in bare


def test_one_line_errors(work: Path, tmp_path: Path) -> None:
    emb = work / "photos.parquet"
    np.save(tmp_path / "narrow.npy", np.zeros((4, 3), dtype=np.float32))
    np.save(tmp_path / "nan.npy", np.full((4, 768), np.nan, dtype=np.float32))
    np.save(tmp_path / "one.npy", np.zeros((1, 3), dtype=np.float32))
    assert "dimensions" in refused(3, emb, "--ood", tmp_path / "narrow.npy")
    assert "NaN" in refused(3, emb, "--ood", tmp_path / "nan.npy")
    assert "1 image" in refused(3, tmp_path / "one.npy")
    assert "between 1 and" in refused(2, emb, "--k", "5000")
    assert "Did you mean 'mahalanobis'" in refused(2, emb, "--score", "mahalanobi")
    assert "--train-split nope" in refused(2, emb, "--train-split", "nope")
    assert "add --run RUN" in refused(2, emb, "--ood", work)
    assert "needs --images" in refused(2, emb, "--html", tmp_path / "x.html")
    assert "--variants" in refused(2, emb, "--ood", work / "bars.npz", "--variants")
    assert "give --ood" in refused(2, emb, "--run", work / "run")
    assert "ids are not in it" in refused(
        3, tmp_path / "narrow.npy", "--images", work / "photos.npz", "--html", tmp_path / "x.html", "-q"
    )
    table = tmp_path / "t.parquet"
    run(tmp_path / "narrow.npy", "-o", table)
    assert "table of other images" in refused(3, emb, "-o", table)
    (tmp_path / "file").write_text("")
    assert "cannot write" in refused(4, emb, "-o", tmp_path / "file" / "t.parquet")
    assert "no embeddings at" in refused(3, tmp_path / "missing.parquet")
    coloured = [
        "--ood",
        work / "photos.npz",
        "--run",
        work / "run",
        "--images",
        work / "photos.npz",
        "--variants",
        "-q",
    ]
    assert "gray" in refused(3, emb, *coloured)


def test_identical_vectors_do_not_crash(tmp_path: Path) -> None:
    np.save(tmp_path / "same.npy", np.ones((60, 4), dtype=np.float32))
    run(tmp_path / "same.npy", "--score", "all", "--json", tmp_path / "n.json")
    found = json.loads((tmp_path / "n.json").read_text())["ranked"]
    assert len(found) == 5 and found["knn2"]["quantiles"]["1"] == 0


def test_all_leaves_out_scores_that_there_are_too_few_images_for(tmp_path: Path) -> None:
    np.save(tmp_path / "few.npy", np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32))
    text = run(tmp_path / "few.npy", "--score", "all", "--json", tmp_path / "n.json", "-o", tmp_path / "t.parquet")
    found = json.loads((tmp_path / "n.json").read_text())
    assert "score knn-norm skipped: it needs 50 neighbours; 30 training vectors have 29" in text
    assert list(found["ranked"]) == found["scores"] == ["knn2", "mahalanobis", "iforest", "lof"]
    assert list(found["skipped"]) == ["knn-norm"]
    assert "anomaly_score_lof" in pq.read_table(tmp_path / "t.parquet").column_names
    run(tmp_path / "few.npy", "--score", "all", "--k", "5", "--json", tmp_path / "n.json")
    found = json.loads((tmp_path / "n.json").read_text())
    assert len(found["ranked"]) == 5 and "skipped" not in found
    assert "must lie between 1 and 29" in refused(2, tmp_path / "few.npy", "--score", "knn-norm")  # asked for by name
    np.save(tmp_path / "two.npy", np.eye(2, dtype=np.float32))
    assert "score knn2 skipped" in run(tmp_path / "two.npy", "--score", "all")


def test_all_against_foreign_vectors_counts_the_training_images(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    split = np.array(["train"] * 50 + ["test"] * 20)
    np.savez(tmp_path / "e.npz", embedding=rng.normal(size=(70, 4)).astype(np.float32), split=split)
    np.save(tmp_path / "far.npy", np.full((5, 4), 9, dtype=np.float32))
    args = [tmp_path / "e.npz", "--score", "all", "--ood", tmp_path / "far.npy", "--json", tmp_path / "n.json"]
    assert "skipped" not in run(*args)  # 50 neighbours among 50 training vectors
    assert len(json.loads((tmp_path / "n.json").read_text())["ood"]["far"]) == 5
    assert "knn-norm skipped" in run(*args, "-o", tmp_path / "t.parquet")  # training images lack themselves


def test_help_names_every_score() -> None:
    text = run("--help")
    assert "--train-split" in text and "knn-norm" in text and "--one-class" in text
