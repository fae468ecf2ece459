"""A real, tiny, finished study; each test damages its own copy."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from nearkin.study.study import StudyConfig, run_study
from tests.runs.bulk_runs import run_and_shards

__all__ = ["image_set", "made", "run_and_shards", "study"]
SETTINGS = {"encoder": "fast-tiny", "projector": (8, 8), "batch_size": 16, "epochs": 2, "precision": "fp32"}


def image_set(path: Path) -> Path:
    rng = np.random.default_rng(0)
    arrays = {}
    for name, n in (("train", 60), ("test", 30)):
        y = np.arange(n) % 2
        arrays[f"x_{name}"] = (rng.integers(0, 120, (n, 16, 16, 3)) + 100 * y[:, None, None, None]).astype(np.uint8)
        arrays[f"y_{name}"] = y
    np.savez(path, **arrays)
    return path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("inventory")
    config = StudyConfig(str(image_set(root / "set.npz")), "quick", ("vicreg", "raw-pixels"), (0,), settings=SETTINGS)
    run_study(config, root / "study", progress=False, say=lambda text: None)
    (root / "study" / "report.html").write_text("<html></html>")
    return root / "study"


@pytest.fixture
def study(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))
