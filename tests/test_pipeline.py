"""The single steps: what a repeated 'fit' says and refuses, and that skipped files are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nearkin.errors import ConfigError
from nearkin.pipeline import embed_run, fit_run
from nearkin.train.loop import CHECKPOINT, WEIGHTS

SHARED: dict[str, Any] = {"labels": None, "strict": False, "device": "cpu", "progress": False}


def images(root: Path, n: int = 30, seed: int = 0) -> str:
    root.mkdir(exist_ok=True)
    rng = np.random.default_rng(seed)
    for i in range(n):
        Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(root / f"{i:02d}.png")
    return str(root)


def fit(data: str, out: Path, subset: int | None = None) -> list[str]:
    told: list[str] = []
    fit_run(data, out, "pca", {"components": 4}, seed=0, subset=subset, size=None, say=told.append, **SHARED)
    return told


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))


def test_a_repeated_fit_says_whether_it_continues(tmp_path: Path) -> None:
    data, run = images(tmp_path / "set"), tmp_path / "run"
    assert fit(data, run) == []
    assert fit(data, run) == [f"the run in {run} is finished already"]
    (run / WEIGHTS).rename(run / CHECKPOINT)
    assert fit(data, run) == [f"continuing the run in {run}"]


def test_other_images_of_the_same_name_are_refused(tmp_path: Path) -> None:
    """Half a run on one set and half on another would be a run on neither."""
    data, run = images(tmp_path / "set"), tmp_path / "run"
    assert fit(data, run, subset=20) == ["note: a fixed subset of 20 of 30 images is used"]
    with pytest.raises(ConfigError, match=r"another configuration \(train_fingerprint\)"):
        fit(data, run, subset=25)
    images(tmp_path / "set", seed=1)
    with pytest.raises(ConfigError, match=r"another configuration \(train_fingerprint\)"):
        fit(data, run, subset=20)


def test_skipped_files_are_told_by_fit_and_embed(tmp_path: Path) -> None:
    data = images(tmp_path / "set")
    (tmp_path / "set" / "broken.png").write_text("no image")
    assert fit(data, tmp_path / "run") == ["note: skipped broken.png: not an image"]
    told: list[str] = []
    made = embed_run(tmp_path / "run", data, tmp_path / "e.parquet", layer=None, subset=None, say=told.append, **SHARED)
    assert told == ["note: skipped broken.png: not an image"] and len(made) == 30
