"""Wrong ideas: told in one line, before anything is computed, overwritten or thrown away."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearkin.cli import main
from tests.cli.inprocess import invoke


@pytest.fixture
def vectors(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "e.npz", embedding=rng.normal(size=(40, 6)), labels=np.arange(40) % 2)
    return tmp_path / "e.npz"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "set").mkdir()
    for k, pixels in enumerate(np.random.default_rng(0).integers(0, 256, (30, 16, 16, 3)).astype(np.uint8)):
        Image.fromarray(pixels).save(tmp_path / "set" / f"{k:02d}.png")
    return tmp_path / "set"


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (["study", "--presett", "quick"], "--preset"),
        (["studdy"], "Did you mean 'study'"),
        (["map", "e.npz"], "map --help'"),
        (["study", "--epochs", "two"], "--epochs"),
    ],
)
def test_what_the_parser_refuses_is_one_line(
    command: list[str], words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["nearkin", *command])
    with pytest.raises(SystemExit) as left:
        main()
    lines = capsys.readouterr().err.splitlines()
    assert left.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: ") and words in lines[0]


def test_nothing_but_a_name_shows_the_help(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["nearkin"])
    with pytest.raises(SystemExit):
        main()
    shown = capsys.readouterr()
    assert "Usage" in shown.out + shown.err and "error" not in shown.err


def test_what_is_read_is_not_overwritten(vectors: Path) -> None:
    before = vectors.read_bytes()
    for command in (["evaluate", "-o"], ["search", "--json"], ["cluster", "--json"]):
        assert "would be lost" in invoke(command[0], str(vectors), command[1], str(vectors), code=4)
    assert vectors.read_bytes() == before


@pytest.mark.parametrize("command", ["hubs", "search", "anomalies", "cluster"])
def test_outputs_are_checked_first(command: str, vectors: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert "written as .parquet" in invoke(command, str(vectors), "-o", str(tmp_path / "t.csv"), code=2)
    assert "cannot write" in invoke(command, str(vectors), "--json", str(tmp_path / "file" / "n.json"), code=4)
    assert "is a folder" in invoke(command, str(vectors), "--json", str(tmp_path), code=4)


def test_a_map_of_vectors_without_splits(vectors: Path, tmp_path: Path) -> None:
    assert "40 images" in invoke("map", str(vectors), "-o", str(tmp_path / "m.parquet"), "--kind", "pca")


def test_evaluate_says_what_it_cannot_use(tmp_path: Path) -> None:
    Z = np.random.default_rng(0).normal(size=(30, 4))
    np.savez(tmp_path / "s.npz", embedding=Z, split=np.repeat(["training", "testing"], 15))
    assert "testing, training" in invoke("evaluate", str(tmp_path / "s.npz"), code=3)
    np.save(tmp_path / "five.npy", Z[:5])
    assert "too few" in invoke("evaluate", str(tmp_path / "five.npy"), code=3)
    np.save(tmp_path / "plain.npy", Z)
    assert "no probes" in invoke("evaluate", str(tmp_path / "plain.npy"))


def test_a_refused_fresh_study_loses_nothing(images: Path, tmp_path: Path) -> None:
    study = ["study", str(images), "-o", str(tmp_path / "out"), "--methods", "raw-pixels", "-q"]
    invoke(*study)
    results = (tmp_path / "out" / "results.json").read_bytes()
    for wrong in (["study", "no-such-set", *study[2:]], [*study, "--ood", str(images)]):
        message = invoke(*wrong, "--fresh", code=3 if wrong[1] == "no-such-set" else 2)
        assert "unknown data set" in message or "own images" in message
    assert (tmp_path / "out" / "results.json").read_bytes() == results
    message = invoke(*study, "--set", "dim=5", code=2)
    assert "holds another study (dim was None, is '5')" in message
    assert "the folder of a study" in invoke("fit", str(images), "-o", str(tmp_path / "out"), "-q", code=2)
    assert "is a study; give one of its runs" in invoke(
        "embed", str(tmp_path / "out"), str(images), "-o", "x.parquet", code=3
    )
    assert "name one of its embeddings" in invoke("evaluate", str(tmp_path / "out"), code=3)
    assert "no file" in invoke("report", str(tmp_path / "out" / "report.html"), code=3)
    # "runs" beside no study's files is somebody else's.
    (tmp_path / "mine" / "runs" / "other").mkdir(parents=True)
    invoke("study", str(images), "-o", str(tmp_path / "mine"), *study[4:], "--fresh")
    assert (tmp_path / "mine" / "runs" / "other").is_dir()


def test_a_mistyped_first_try_does_not_block_the_folder(images: Path, tmp_path: Path) -> None:
    fit = ["fit", str(images), "-o", str(tmp_path / "run"), "-q", "--preset", "quick", "--set", "batch_size=8"]
    assert "frozen representation" in invoke(*fit, "--method", "ngn", code=2)
    invoke(*fit, "--method", "pca")
    study = ["study", str(images), "-o", str(tmp_path / "out"), "-q", "--methods"]
    assert "did you mean 'official'" in invoke(*study, "pca,vicreg", "--set", "convention=offical", code=2).lower()
    assert "batch_size 500 is larger" in invoke(*study, "pca,vicreg", "--set", "batch_size=500", code=2)
    assert not (tmp_path / "out" / "study.json").exists()


def test_methods_without_a_name(images: Path, tmp_path: Path) -> None:
    for text in ("", ","):
        assert "names no method" in invoke("study", str(images), "-o", str(tmp_path / "o"), "--methods", text, code=2)
    assert "Did you mean 'study'" in invoke(
        "study", str(images), "-o", str(tmp_path / "o"), "--methods", "stdy", code=2
    )


def test_a_folder_of_vectors_is_explored(vectors: Path, tmp_path: Path) -> None:
    from nearkin.embeddings import Embeddings

    made = Embeddings.load(vectors)
    (tmp_path / "parts").mkdir()
    made.take(np.arange(20)).save(tmp_path / "parts" / "a.parquet")
    made.take(np.arange(20, 40)).save(tmp_path / "parts" / "b.parquet")
    assert "40 images" in invoke("explore", str(tmp_path / "parts"), "--export", str(tmp_path / "p.html"))
