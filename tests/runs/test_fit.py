"""The single steps: what a repeated 'fit' says and refuses, and that skipped files are told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from nearkin.errors import ConfigError
from nearkin.fileio import read_json, write_json
from nearkin.folders import CHECKPOINT, WEIGHTS
from nearkin.runs import embed
from nearkin.runs.embed import EmbedWhileDecoding, embed_run
from nearkin.runs.fit import fit_run

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


def test_a_setting_that_came_later_is_no_other_configuration(tmp_path: Path) -> None:
    data, run = images(tmp_path / "set"), tmp_path / "run"

    def again(**settings: Any) -> list[str]:
        told: list[str] = []
        tiny = {"encoder": "fast-mini", "projector": (8, 8), "epochs": 1, "batch_size": 8, "neighbors_from": "pixels"}
        fit_run(data, run, "ngn", tiny | settings, seed=0, subset=None, size=None, say=told.append, **SHARED)
        return told

    again()
    config = read_json(run / "config.json")
    assert config["settings"].pop("neighbors_same_class") is False
    write_json(run / "config.json", config)
    assert again() == [f"the run in {run} is finished already"]
    write_json(run / "config.json", config)
    with pytest.raises(ConfigError, match=r"another configuration \(settings\)"):
        again(neighbors_k=2)


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


def test_vectors_made_while_decoding_are_those_made_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = images(tmp_path / "set")
    (tmp_path / "set" / "0-broken.png").write_text("no image")  # among the others, not after them
    net = {"encoder": "fast-tiny", "projector": (8, 8)}
    fit_run(data, tmp_path / "run", "random-init", net, seed=0, subset=None, size=None, say=lambda text: None, **SHARED)
    monkeypatch.setattr(embed, "_BATCH", 7)
    vectors, beside = EmbedWhileDecoding.vectors, []

    def watched(self: EmbedWhileDecoding, names: np.ndarray) -> np.ndarray | None:
        found = vectors(self, names)
        beside.append(found is not None)
        return found

    monkeypatch.setattr(EmbedWhileDecoding, "vectors", watched)
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "empty"))
    first, second = (
        embed_run(
            tmp_path / "run", data, tmp_path / f"{k}.parquet", layer=None, subset=None, say=lambda text: None, **SHARED
        )
        for k in range(2)
    )
    assert beside == [True] * 3 + [False] * 3  # the second time, the cache has the images
    assert first.ids.tolist() == second.ids.tolist() and len(first) == 30 and len(np.unique(first.Z, axis=0)) == 30
    assert np.allclose(first.Z, second.Z, rtol=0.02, atol=0.02 * np.abs(second.Z).max())


def test_images_that_come_one_by_one_are_embedded_in_batches_in_order() -> None:
    sizes: list[int] = []

    def embed(batch: np.ndarray) -> np.ndarray:
        sizes.append(len(batch))
        if len(batch) != 512 and sizes[0] != 512:
            raise ValueError("the embedder's own error")
        return batch[:, :1, 0, 0].astype(np.float32)

    pictures = np.arange(1100, dtype=np.uint16).astype(np.uint8)[:, None, None, None].repeat(3, axis=1)
    with EmbedWhileDecoding(embed) as beside:
        for k, picture in enumerate(pictures):
            beside.add(f"{k}", picture)
        beside.add("3", pictures[200])  # seen again
        found = beside.vectors(np.array(["700", "3", "1099"]))
        assert found is not None and found[:, 0].tolist() == [700 % 256, 200, 1099 % 256] and sizes == [512, 512, 77]
        assert beside.vectors(np.array(["700", "unknown"])) is None
    sizes.clear()
    with EmbedWhileDecoding(embed) as beside:
        beside.add("0", pictures[0])
        with pytest.raises(ValueError, match="own error"):
            beside.vectors(np.array(["0"]))
