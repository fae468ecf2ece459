"""The main job on a tiny set: end to end, and the same result after a kill."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError
from nearkin.methods.neighborhood import frozen_features
from nearkin.runs.embed import embed_run
from nearkin.study.study import StudyConfig, run_study

TINY = ["--preset", "quick", "--epochs", "3", "--set", "projector=32,32", "--set", "batch_size=32", "--quiet"]


def folder_of_images(root: Path, n: int = 40) -> Path:
    """Two classes that differ in brightness, so that every step has something to find."""
    rng = np.random.default_rng(0)
    for split, count in (("train", n), ("test", 20)):
        for k, name in enumerate(("dark", "light")):
            folder = root / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 100, (32, 32, 3)) + 120 * k
                Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{i}.png")
    return root


def nearkin(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"NEARKIN_CACHE": str(cwd / "cache"), "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "nearkin", *args], cwd=cwd, env=env, capture_output=True, text=True, timeout=300
    )


@pytest.mark.slow
def test_study_end_to_end_and_embeddings_reproduce_the_probe(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "images")
    done = nearkin("study", "images", "-o", "out", "--methods", "vicreg,raw-pixels", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert "raw pixels" in (tmp_path / "out" / "report.html").read_text()
    assert [row["method"] for row in results["table"]] == ["vicreg", "raw-pixels"]
    emb = Embeddings.load(tmp_path / "out" / "runs" / "raw-pixels-s0" / "embeddings" / "pixels.parquet")
    from sklearn.linear_model import LogisticRegression

    train, test = emb.part("train"), emb.part("test")
    probe = LogisticRegression(max_iter=1000).fit(train.Z, train.labels)
    assert probe.score(test.Z, test.labels) == pytest.approx(results["table"][1]["linear"]["mean"], abs=0.05)


def random_set(path: Path, side: int) -> Path:
    rng = np.random.default_rng(0)
    made = {
        f"x_{name}": rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
        for name, n in (("train", 60), ("test", 30))
    }
    np.savez(path, **made)
    return path


def test_an_illegal_setting_is_told_before_the_first_run(tmp_path: Path) -> None:
    source = str(random_set(tmp_path / "set.npz", 16))
    config = StudyConfig(source, "quick", ("pca", "simclr"), (0,), settings={"temperature": -1.0})
    with pytest.raises(ConfigError, match="temperature is -1"):
        run_study(config, tmp_path / "out", progress=False, say=lambda text: None)
    assert not (tmp_path / "out" / "study.json").exists()  # the folder is still free for the corrected command


@pytest.mark.slow
def test_a_studys_run_embeds_a_set_of_another_size(tmp_path: Path) -> None:
    """The run remembers its image size, which decides the net's stem; other images are brought to it."""
    source = str(random_set(tmp_path / "small.npz", 16))
    settings = {"encoder": "fast-tiny", "projector": (8, 8)}
    run_study(
        StudyConfig(source, "quick", ("random-init",), (0,), settings=settings),
        tmp_path / "out",
        progress=False,
        say=lambda text: None,
    )
    run, other = tmp_path / "out" / "runs" / "random-init-s0", str(random_set(tmp_path / "large.npz", 64))
    made = embed_run(
        run,
        other,
        tmp_path / "e.parquet",
        layer=None,
        labels=None,
        subset=None,
        strict=False,
        device="cpu",
        progress=False,
    )
    assert made.Z.shape == (90, 1024)
    with pytest.raises(ConfigError, match="images of 16 pixels; these have 64. Use --size 16"):
        frozen_features(str(run), {}, (3, 64, 64), "cpu")


@pytest.mark.slow
def test_killed_study_continues_to_the_same_result(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "images")
    args = ["study", "images", "--methods", "vicreg", *TINY, "--set", "checkpoint_seconds=0.01"]
    args += ["--epochs", "40"]  # long enough that no delay of the watching process lets the training end first
    whole = nearkin(*args, "-o", "whole", cwd=tmp_path)
    assert whole.returncode == 0, whole.stderr
    env = os.environ | {"NEARKIN_CACHE": str(tmp_path / "cache"), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "nearkin", *args, "-o", "cut"], cwd=tmp_path, env=env)
    checkpoint = tmp_path / "cut" / "runs" / "vicreg-s0" / "checkpoint.safetensors"
    deadline = time.monotonic() + 120
    while not checkpoint.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut" / "results.json").exists()
    again = nearkin(*args, "-o", "cut", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert "continuing the study" in again.stdout
    name = "runs/vicreg-s0/weights.safetensors"
    from safetensors.numpy import load_file

    a, b = load_file(tmp_path / "whole" / name), load_file(tmp_path / "cut" / name)
    assert all(np.array_equal(a[key], b[key]) for key in a)
    evaluations = [json.loads((tmp_path / d / "runs/vicreg-s0/evaluation.json").read_text()) for d in ("whole", "cut")]
    assert evaluations[0] == evaluations[1]


def test_methods_that_need_labels_are_left_out_of_a_study_without_them(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "bare.npz", x_train=rng.integers(0, 256, (60, 32, 32, 3), dtype=np.uint8))
    done = nearkin("study", "bare.npz", "-o", "out", "--methods", "supervised,pca", *TINY, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "note: left out, as training needs a label for every training image: supervised" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out" / "runs").iterdir()) == ["pca-s0"]
    assert json.loads((tmp_path / "out" / "study.json").read_text())["config"]["methods"] == ["pca"]
    alone = nearkin("study", "bare.npz", "-o", "alone", "--methods", "supervised", *TINY, cwd=tmp_path)
    assert alone.returncode != 0
    assert "Give them with --labels" in alone.stderr + alone.stdout
    assert not (tmp_path / "alone" / "runs").exists()
