"""OpenVINO gives PyTorch's vectors, for any number of images; what it cannot do is one line."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from nearkin.atomic import write_json
from nearkin.data.imageset import ImageSet, Splits
from nearkin.embedder import embedder
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.methods import create
from nearkin.pipeline import embed_bulk, embed_run

RNG = np.random.default_rng(0)
needed = pytest.mark.skipif(importlib.util.find_spec("openvino") is None, reason="needs OpenVINO: nearkin[openvino]")


def make_run(folder: Path, method: str = "vicreg", precision: str = "fp32") -> Path:
    settings = {"encoder": "fast-mini", "projector": (16, 8), "epochs": 1, "batch_size": 8, "precision": precision}
    parts = [
        ImageSet(RNG.integers(0, 256, (16, 3, 32, 32), dtype=np.uint8), np.arange(16).astype(str)) for _ in range(3)
    ]
    made = create(method, settings if method == "vicreg" else {}, (3, 32, 32))
    made.fit(Splits(*parts), folder, device="cpu", progress=False)
    write_json(folder / "config.json", {"method": method, "seed": 0, "settings": made.settings, "image_size": 32})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@needed
@pytest.mark.parametrize("layer", ["backbone", "projector"])
def test_the_same_vectors(run: Path, layer: str) -> None:
    by_torch, by_openvino = (embedder(run, (3, 32, 32), layer=layer, device=d) for d in ("cpu", "openvino"))
    for n in (0, 3, 513):  # nothing, part of a batch, more than one
        images = RNG.integers(0, 256, (n, 3, 32, 32), dtype=np.uint8)
        found = by_openvino(images)
        assert found.dtype == np.float32
        assert len(found) == n and (n == 0 or np.allclose(found, by_torch(images), atol=1e-3))


@needed
def test_a_run_in_bf16_within_rounding(tmp_path: Path) -> None:
    folder = make_run(tmp_path, precision="bf16")
    images = RNG.integers(0, 256, (64, 3, 32, 32), dtype=np.uint8)
    a, b = (embedder(folder, (3, 32, 32), device=d)(images) for d in ("cpu", "openvino"))
    assert np.sqrt(np.square(a - b).mean() / np.square(a).mean()) < 0.02


@needed
def test_another_net_is_told_from_rounding(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nearkin.nets.pixels import PixelEncoder

    right = PixelEncoder.forward
    monkeypatch.setattr(PixelEncoder, "forward", lambda self, images: right(self, images.flip(3)))
    with pytest.raises(DataError, match=r"OpenVINO gives other vectors than PyTorch.*--device cpu"):
        embedder(run, (3, 32, 32), device="openvino")


@needed
def test_whole_sets_and_what_they_say_of_themselves(run: Path, tmp_path: Path) -> None:
    more = {"layer": None, "labels": None, "subset": 300, "strict": False, "progress": False}
    made = [
        embed_run(run, "shapes", tmp_path / f"{d}.parquet", device=d, say=lambda text: None, **more)  # type: ignore[arg-type]
        for d in ("cpu", "openvino")
    ]
    assert "runtime" not in made[0].provenance and made[1].provenance["runtime"] == "openvino"
    assert made[0].ids.tolist() == made[1].ids.tolist() and np.allclose(made[0].Z, made[1].Z, atol=1e-3)
    embed_bulk(run, "shapes", tmp_path / "parts", device="openvino", engine="local", **more)  # type: ignore[arg-type]
    parts = Embeddings.load(tmp_path / "parts")
    assert sorted(parts.ids) == sorted(made[0].ids)
    assert np.allclose(parts.Z[np.argsort(parts.ids)], made[0].Z[np.argsort(made[0].ids)], atol=1e-3)
    with pytest.raises(ConfigError, match="holds vectors of another run"):
        embed_bulk(run, "shapes", tmp_path / "parts", device="cpu", engine="local", **more)  # type: ignore[arg-type]


@needed
def test_a_method_without_an_encoder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="methods with an encoder; use --device cpu"):
        embedder(make_run(tmp_path, "raw-pixels"), (3, 32, 32), device="openvino")


def test_the_package_is_missing(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'nearkin\[openvino\]'"):
        embedder(run, (3, 32, 32), device="openvino")
