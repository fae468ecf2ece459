"""Folders that nearkin 0.1.0 wrote still open, resume, embed and report, with the same numbers.

The folder ``0.1.0`` beside this file was written by that version: a study (VICReg, LO, Laplacian eigenmaps, PCA), a run of
``nearkin fit`` (NGN), its embeddings as one file and as parts, and a table. Weights are not kept in the repository. ``weights.json``
has the names, shapes and metadata of every tensor; :func:`fill` gives each the same numbers that version 0.1.0 was given when
it wrote ``expected.npz``, the vectors of the first four test images.
"""

from __future__ import annotations

import json
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from nearkin.embeddings import Embeddings
from nearkin.study.study import StudyConfig, run_study
from tests.cli.inprocess import invoke

OLD = Path(__file__).parent / "0.1.0"
RUNS = ("study/runs/vicreg-s0", "study/runs/lo-s0", "study/runs/le-vicreg-s0", "study/runs/pca-s0", "run")


def fill(name: str, shape: list[int], dtype: str) -> torch.Tensor:
    """Numbers that depend on the tensor's name only; spreads of norms stay positive, matrices have both signs."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    if dtype.startswith("int"):
        return torch.from_numpy(rng.integers(0, 5, shape)).to(getattr(torch, dtype))
    centre = 0.5 if name.endswith("weight") and len(shape) > 1 else 0.0
    return torch.from_numpy(rng.uniform(0.1, 0.9, shape) - centre).to(getattr(torch, dtype))


def image_set(path: Path) -> NDArray[np.uint8]:
    """The images of the old folder as a .npz file; returns the test images, uint8 (14, 12, 12, 3)."""
    rng = np.random.default_rng(0)
    arrays = {}
    for name, n in (("train", 30), ("test", 14)):
        y = np.arange(n) % 2
        arrays[f"x_{name}"] = (rng.integers(0, 120, (n, 12, 12, 3)) + 100 * y[:, None, None, None]).astype(np.uint8)
        arrays[f"y_{name}"] = y
    np.savez(path, **arrays)
    return np.asarray(arrays["x_test"])


@pytest.fixture
def old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the old folder with weights and images; the current folder, as its paths are relative."""
    folder = Path(shutil.copytree(OLD, tmp_path / "old"))
    for name, file in json.loads((OLD / "weights.json").read_text()).items():
        tensors = {tensor: fill(tensor, *like) for tensor, like in file["tensors"].items()}
        (folder / name).parent.mkdir(parents=True, exist_ok=True)  # git keeps no empty folder
        save_file(tensors, folder / name, metadata=file["metadata"])
    image_set(folder / "set.npz")
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    return folder


def numbers(value: Any, at: str = "") -> dict[str, Any]:
    """Every number, text and flag of a JSON value by its place, without times and versions."""
    skip = ("created", "command", "versions", "hardware", "nearkin_version")
    if isinstance(value, dict):
        parts = {
            f"{at}/{k}": v for k, v in value.items() if k not in skip and "seconds" not in k and k != "images_per_s"
        }
        return {name: leaf for place, part in parts.items() for name, leaf in numbers(part, place).items()}
    if isinstance(value, list):
        return {name: leaf for k, part in enumerate(value) for name, leaf in numbers(part, f"{at}[{k}]").items()}
    return {at: value}


def test_nothing_is_broken_in_old_folders(old: Path) -> None:
    for folder in ("study", "run"):
        assert "0 broken" in invoke("doctor", folder)
    listed = invoke("runs", ".")
    assert "4 of 4 runs done, finished" in listed and "5 runs" in listed


@pytest.mark.parametrize("run", RUNS)
def test_old_runs_embed_as_they_did(old: Path, run: str) -> None:
    with np.load(OLD / "expected.npz") as expected:
        before = expected[run.replace("/", "|")]
    invoke("embed", run, "set.npz", "-o", "again.parquet", "--device", "cpu", "-q")
    after = Embeddings.load(old / "again.parquet").part("test").Z[:4]
    np.testing.assert_allclose(after, before, rtol=1e-4, atol=1e-4 * float(np.abs(before).max()))


def test_an_old_study_is_finished_and_its_numbers_stay(old: Path) -> None:
    """Nothing is trained or evaluated again. A file that is made anew says the same."""
    before = {path: (old / path).read_bytes() for path in ("study/results.json", "study/uses.json")}
    trained = {path: path.stat().st_mtime_ns for path in old.glob("study/runs/*/*") if path.is_file()}
    plan = json.loads((old / "study/study.json").read_text())["config"]
    config = StudyConfig(**{**plan, "methods": tuple(plan["methods"]), "seeds": (0,), "ood": ()})
    run_study(config, old / "study", progress=False, say=lambda text: None)
    invoke("report", "study")
    assert {path: path.stat().st_mtime_ns for path in trained if path.suffix != ".npz"} == {
        path: time for path, time in trained.items() if path.suffix != ".npz"
    }
    for path, content in before.items():
        then, now = numbers(json.loads(content)), numbers(json.loads((old / path).read_text()))
        assert then == {name: now.get(name) for name in then}, path
    assert (old / "study/report.html").stat().st_size > 10_000


def test_old_embeddings_and_tables_open(old: Path) -> None:
    whole, parts = Embeddings.load(old / "embeddings.parquet"), Embeddings.load(old / "parts")
    order = np.argsort(parts.ids)
    assert np.array_equal(parts.Z[order], whole.Z[np.argsort(whole.ids)]) and len(whole) == 44
    assert set(whole.names()) == {"0", "1"} and set(whole.split) == {"train", "val", "test"}
    invoke("anomalies", "embeddings.parquet", "-o", "table.parquet")
    invoke("compare", "study", "-o", "compared.md")
    assert "vicreg" in (old / "compared.md").read_text().lower()
