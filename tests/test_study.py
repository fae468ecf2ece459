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


@pytest.mark.slow
def test_killed_study_continues_to_the_same_result(tmp_path: Path) -> None:
    folder_of_images(tmp_path / "images")
    args = ["study", "images", "--methods", "vicreg", *TINY, "--set", "checkpoint_seconds=0.01"]
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
