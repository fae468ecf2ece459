"""A small folder of images, a run on it with its embeddings, and a folder that looks like a study."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nearkin.embeddings import Embeddings
from nearkin.explore.collection import Collection, collect
from nearkin.fileio import write_json, write_npz
from nearkin.runs.embed import embed_run
from nearkin.runs.fit import fit_run

CLASSES = ("dark", "light")
HOSTILE = "<img src=x onerror=alert(1)>.png"


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """set/ (60 images, two classes), run/ (PCA), e.parquet (its embeddings), study/ (two runs, maps of test images)."""
    here = tmp_path_factory.mktemp("explore")
    rng = np.random.default_rng(0)
    for i in range(60):
        for split in ("train", "test") if i % 3 == 0 else ("train",):
            folder = here / "set" / split / CLASSES[i % 2]
            folder.mkdir(parents=True, exist_ok=True)
            pixels = rng.integers(0, 120, (16, 16, 3)) + 130 * (i % 2)
            name = HOSTILE if i == 0 else f"{i:02d}.png"
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name, format="PNG")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARKIN_CACHE", str(here / "cache"))
        data, run = str(here / "set"), here / "run"
        where = {"subset": None, "labels": None, "strict": False, "device": "cpu", "progress": False}
        fit_run(data, run, "pca", {"components": 8}, seed=0, size=None, **where)  # type: ignore[arg-type]
        made = embed_run(run, data, here / "e.parquet", layer=None, **where)  # type: ignore[arg-type]
    _study(here, made)
    return here


def _study(here: Path, made: Embeddings) -> None:
    """Two finished runs as a study leaves them; the second one's vectors are the first one's, mirrored."""
    study = here / "study"
    write_json(study / "data.json", {"source": str(here / "set"), "image_shape": [3, 16, 16]})
    write_json(study / "study.json", {"config": {"methods": ["pca", "other"]}})
    test = made.part("test")
    for method in ("other", "pca"):
        folder = study / "runs" / f"{method}-s0"
        folder.mkdir(parents=True)
        for name in ("config.json", "weights.safetensors"):
            shutil.copy(here / "run" / name, folder / name)
        Z = made.Z if method == "pca" else made.Z[:, ::-1].copy()
        Embeddings(Z, made.ids, made.labels, made.split, made.classes, made.provenance).save(
            folder / "embeddings" / "components.parquet"
        )
        maps = {"tsne": {"trustworthiness": 0.9, "preservation": 0.5, "skipped": None}}
        evaluation = {"method": method, "title": method.upper(), "seed": 0, "primary_layer": "components"}
        write_json(folder / "evaluation.json", evaluation | {"layers": {"components": {"maps": maps}}})
        write_npz(
            folder / "maps.npz",
            {"components/tsne": test.Z[:, :2].copy(), "components/ids": test.ids, "components/labels": test.labels},  # type: ignore[dict-item]
        )
        write_json(folder / "done.json", {"digest": "0"})


@pytest.fixture(autouse=True)
def cache(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NEARKIN_CACHE", str(root / "cache"))


@pytest.fixture(scope="session")
def collection(root: Path) -> Collection:
    """The study's runs, all images, with pictures."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEARKIN_CACHE", str(root / "cache"))
        return collect(
            [root / "study"],
            images=str(root / "set"),
            tables=[],
            run=None,
            split="all",
            most=60_000,
            seed=0,
            say=lambda _: None,
        )
