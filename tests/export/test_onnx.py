"""Exported encoders give the run's vectors, for any batch size, in a runtime that is not torch."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from nearkin.data.imageset import ImageSet, Splits
from nearkin.errors import ConfigError
from nearkin.export.onnx import export_run
from nearkin.fileio import write_json
from nearkin.methods import FitContext, create

RNG = np.random.default_rng(0)
SETTINGS = {"encoder": "fast-mini", "projector": (16, 8), "epochs": 1, "batch_size": 8, "precision": "fp32"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    parts = [
        ImageSet(RNG.integers(0, 256, (16, 3, 32, 32), dtype=np.uint8), np.arange(16).astype(str)) for _ in range(3)
    ]
    method = create("vicreg", SETTINGS, (3, 32, 32))
    method.fit(FitContext(Splits(*parts), folder, device="cpu", progress=False))
    write_json(folder / "config.json", {"method": "vicreg", "seed": 0, "settings": SETTINGS, "image_size": 32})
    return folder


def vectors(run: Path, images: np.ndarray, layer: str) -> np.ndarray:
    method = create("vicreg", SETTINGS, (3, 32, 32))
    method.load(run, "cpu")
    return method.embed(images, (layer,))[layer]


@pytest.mark.parametrize("layer", ["backbone", "projector"])
def test_onnx(run: Path, tmp_path: Path, layer: str) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    assert export_run(run, tmp_path / "a" / "m.onnx", layer=layer) < 1e-3
    session = onnxruntime.InferenceSession(str(tmp_path / "a" / "m.onnx"))
    assert session.get_modelmeta().custom_metadata_map["layer"] == layer
    for n in (1, 7):
        images = RNG.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        (found,) = session.run(None, {"images": images})
        assert np.allclose(found, vectors(run, images, layer), atol=1e-4)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["m.onnx"]


def test_torch_export(run: Path, tmp_path: Path) -> None:
    export_run(run, tmp_path / "m.pt2")
    images = RNG.integers(0, 256, (3, 3, 32, 32), dtype=np.uint8)
    found = torch.export.load(tmp_path / "m.pt2").module()(torch.from_numpy(images))
    assert np.allclose(found.detach().numpy(), vectors(run, images, "backbone"), atol=1e-4)


def test_a_run_in_bf16_is_compared_in_float32(run: Path, tmp_path: Path) -> None:
    config = {"method": "vicreg", "seed": 0, "settings": SETTINGS | {"precision": "bf16"}, "image_size": 32}
    (tmp_path / "r").mkdir()
    shutil.copy(run / "weights.safetensors", tmp_path / "r")
    write_json(tmp_path / "r" / "config.json", config)
    assert export_run(tmp_path / "r", tmp_path / "m.pt2") < 1e-5


def test_what_cannot_be_exported(run: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"m\.h5: a model is exported as \.onnx or \.pt2"):
        export_run(run, tmp_path / "m.h5")
    with pytest.raises(ConfigError, match="unknown layer 'bakbone'.*Did you mean"):
        export_run(run, tmp_path / "m.pt2", layer="bakbone")
    write_json(
        tmp_path / "pixels" / "config.json", {"method": "raw-pixels", "seed": 0, "settings": {}, "image_size": 32}
    )
    with pytest.raises(ConfigError, match="'raw-pixels' in .* has no encoder to export"):
        export_run(tmp_path / "pixels", tmp_path / "m.pt2")
