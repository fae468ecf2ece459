"""The single steps, one after another, as a user would run them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

SMALL = ["--preset", "quick", "--epochs", "2", "--set", "projector=16,16", "--set", "batch_size=16", "-q"]


def environment(cwd: Path) -> dict[str, str]:
    return os.environ | {"NEARKIN_CACHE": str(cwd / "cache"), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}


def nearkin(*args: str, cwd: Path, code: int = 0) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "nearkin", *args],
        cwd=cwd,
        env=environment(cwd),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def flat_folder(root: Path, n: int = 60) -> Path:
    root.mkdir()
    rng = np.random.default_rng(0)
    for i in range(n):
        pixels = rng.integers(0, 120, (32, 32, 3)) + (130 if i % 2 else 0)
        Image.fromarray(pixels.astype(np.uint8)).save(root / f"{i:02d}.png")
    return root


def labels_for(root: Path, file: Path) -> None:
    rows = ["path,label"] + [f"{p.name},{'light' if int(p.stem) % 2 else 'dark'}" for p in sorted(root.glob("*.png"))]
    file.write_text("\n".join(rows) + "\n")


@pytest.mark.parametrize(
    "command",
    [
        [],
        *[
            [c]
            for c in (
                "study",
                "fit",
                "embed",
                "evaluate",
                "map",
                "search",
                "hubs",
                "report",
                "data",
                "runs",
                "doctor",
                "compare",
            )
        ],
    ],
)
def test_help(command: list[str], tmp_path: Path) -> None:
    assert "Usage" in nearkin(*command, "--help", cwd=tmp_path)


def test_data_info(tmp_path: Path) -> None:
    flat_folder(tmp_path / "set")
    (tmp_path / "set" / "broken.png").write_text("no image")
    text = nearkin("data", "info", "set", cwd=tmp_path)
    assert "60 images" in text and "skipped broken.png: not an image" in text and "no labels" in text
    found = json.loads(nearkin("data", "info", "set", "--json", cwd=tmp_path))
    assert found["splits"]["train"]["images"] == 60
    assert "broken.png" in nearkin("data", "info", "set", "--strict", cwd=tmp_path, code=3)


@pytest.mark.slow
def test_fit_embed_evaluate_map(tmp_path: Path) -> None:
    root = flat_folder(tmp_path / "set")
    labels_for(root, tmp_path / "labels.csv")
    nearkin("fit", "set", "-o", "run", *SMALL, cwd=tmp_path)
    assert (tmp_path / "run" / "weights.safetensors").exists() and (tmp_path / "run" / "metrics.jsonl").exists()
    assert "60 vectors" in nearkin("embed", "run", "set", "-o", "e.parquet", "--labels", "labels.csv", cwd=tmp_path)
    table = pq.read_table(tmp_path / "e.parquet")
    assert table.column_names == ["id", "label", "split", "embedding"] and set(table["id"].to_pylist()) == {
        p.name for p in root.glob("*.png")
    }
    text = nearkin("evaluate", "e.parquet", "-o", "e.json", cwd=tmp_path)
    assert "linear" in text and json.loads((tmp_path / "e.json").read_text())["health"]["rankme"] >= 1
    assert "60 images;" in nearkin("map", "e.parquet", "-o", "m.png", "--kind", "pca", cwd=tmp_path)
    few = ("--kind", "pca", "--max-images", "20")
    assert "60 images, judged by 20; trust" in nearkin("map", "e.parquet", "-o", "n.png", *few, cwd=tmp_path)
    some = ("--max-images", "40")
    text = nearkin("map", "e.parquet", "-o", "n.parquet", *some, cwd=tmp_path)
    assert "60 images, judged by 40 it was fitted on; trust" in text
    assert len(pq.read_table(tmp_path / "n.parquet")) == 60
    with Image.open(tmp_path / "m.png") as picture:
        assert picture.size[0] > 500
    text = nearkin("map", "e.parquet", "-o", "m.parquet", "--split", "all", "--seeds", "2", cwd=tmp_path)
    assert "t-SNE maps of 2 seeds" in text and re.search(r"random: \d+ % of an image.s neighbours", text)
    assert pq.read_table(tmp_path / "m.parquet").column_names == ["id", "label", "split", "x", "y"]
    assert "Did you mean" in nearkin(
        "embed", "run", "set", "-o", "x.parquet", "--layer", "bakbone", cwd=tmp_path, code=2
    )
    assert "another configuration" in nearkin("fit", "set", "-o", "run", *SMALL, "--seed", "5", cwd=tmp_path, code=2)


@pytest.mark.slow
def test_unlabelled_study_two_seeds_then_more_then_refusal(tmp_path: Path) -> None:
    flat_folder(tmp_path / "set")
    args = ["study", "set", "-o", "out", *SMALL]
    text = nearkin(*args, "--methods", "vicreg,pca", "--seeds", "2", cwd=tmp_path)
    assert "report: out/report.html" in text and "no labels" in text
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert [r["id"] for r in results["runs"]] == ["vicreg-s0", "vicreg-s1", "pca-s0"]
    assert results["table"][0]["rankme"]["n_seeds"] == 2 and results["table"][0]["linear"] is None
    before = (tmp_path / "out/runs/vicreg-s0/weights.safetensors").stat().st_mtime_ns
    again = nearkin(*args, "--methods", "vicreg,pca,raw-pixels", cwd=tmp_path)
    assert "continuing the study in out: 3 runs done" in again and "raw pixels" in again
    assert (tmp_path / "out/runs/vicreg-s0/weights.safetensors").stat().st_mtime_ns == before
    assert "holds another study" in nearkin(*args, "--set", "lr=1e-4", cwd=tmp_path, code=2)
    nearkin("report", "out", "-o", "again.html", cwd=tmp_path)
    assert (tmp_path / "again.html").stat().st_size > 10_000


@pytest.mark.slow
def test_one_class_only_is_taken_as_unlabelled(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    flat_folder(tmp_path / "set" / "only", 40)
    text = nearkin("study", "set", "-o", "out", "--methods", "pca", "-q", cwd=tmp_path)
    assert "one class only ('only')" in text


@pytest.mark.slow
def test_ctrl_c_exits_130_and_says_how_to_continue(tmp_path: Path) -> None:
    flat_folder(tmp_path / "set")
    args = [
        "study",
        "set",
        "-o",
        "out",
        "--methods",
        "vicreg",
        *SMALL,
        "--epochs",
        "500",
        "--set",
        "checkpoint_seconds=0.1",
    ]
    process = subprocess.Popen(
        [sys.executable, "-m", "nearkin", *args],
        cwd=tmp_path,
        env=environment(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while not (tmp_path / "out/runs/vicreg-s0/checkpoint.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again" in err and "Traceback" not in err
