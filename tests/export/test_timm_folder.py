"""What timm makes of an exported folder gives the run's features, by timm's own preprocessing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image

from nearkin.data.imageset import ImageSet, Splits
from nearkin.errors import ConfigError
from nearkin.export.timm_folder import export_timm
from nearkin.fileio import write_json
from nearkin.methods import FitContext, create
from tests.cli.inprocess import invoke

RNG = np.random.default_rng(0)
BASE = {"projector": (8, 4), "precision": "fp32"}
# A convolutional net and a transformer of timm's, and the house's ResNet-18 with timm's stem.
CASES = [("resnet10t", 32), ("vit_tiny_patch16_224", 32), ("reference", 80)]


def make_run(folder: Path, encoder: str, side: int, method: str = "random-init") -> tuple[Path, Any]:
    """A run without training, but with BatchNorm statistics that are not the initial ones; and its method."""
    images = RNG.integers(0, 256, (12, 3, side, side), dtype=np.uint8)
    part = ImageSet(images, np.arange(12).astype(str))
    made = create(method, BASE | {"encoder": encoder}, (3, side, side))
    made.fit(FitContext(Splits(part, part, part), folder, device="cpu", progress=False))
    write_json(
        folder / "config.json",
        {"method": method, "seed": 0, "settings": BASE | {"encoder": encoder}, "image_size": side},
    )
    return folder, made


@pytest.mark.parametrize(("encoder", "side"), CASES)
def test_timm_gives_the_runs_features(tmp_path: Path, encoder: str, side: int) -> None:
    run, made = make_run(tmp_path / "run", encoder, side)
    out = tmp_path / "deep" / "folder"
    assert export_timm(run, out) < 1e-3
    images = RNG.integers(0, 256, (3, 3, side, side), dtype=np.uint8)
    wanted = made.embed(images, ("backbone",))["backbone"]
    net = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    prepare = timm.data.create_transform(**timm.data.resolve_model_data_config(net), is_training=False)
    pictures = [Image.fromarray(image.transpose(1, 2, 0)) for image in images]
    with torch.no_grad():
        found = net(torch.stack([prepare(picture) for picture in pictures])).numpy()
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)

    config = json.loads((out / "config.json").read_text())
    by_hand = timm.create_model(
        config["architecture"], checkpoint_path=str(out / "model.safetensors"), **config["model_args"]
    )
    mean, std = (torch.tensor(config["pretrained_cfg"][name]).view(1, 3, 1, 1) for name in ("mean", "std"))
    with torch.no_grad():
        again = by_hand.eval()((torch.from_numpy(images) / 255 - mean) / std).numpy()
    np.testing.assert_allclose(again, wanted, rtol=1e-4, atol=1e-4)
    assert sorted(path.name for path in out.iterdir()) == ["config.json", "model.safetensors"]


def test_a_classifier_can_be_put_on_top(tmp_path: Path) -> None:
    run, made = make_run(tmp_path / "run", "resnet10t", 32)
    export_timm(run, tmp_path / "out")
    net = timm.create_model(f"local-dir:{tmp_path / 'out'}", pretrained=True, num_classes=7)
    assert net.get_classifier().out_features == 7
    theirs, own = net.state_dict(), made.joint.encoder.backbone.state_dict()
    assert all(torch.equal(theirs[name], value) for name, value in own.items())


def test_what_timm_does_not_have_is_told(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "fast", "fast-mini", 32)
    with pytest.raises(ConfigError, match=r"encoder 'fast-mini' is none of timm's.* \.onnx or \.pt2"):
        export_timm(run, tmp_path / "out")
    small, _ = make_run(tmp_path / "small", "resnet18-small", 32)
    with pytest.raises(ConfigError, match="'resnet18-small' for images up to 64 pixels is none of timm's"):
        export_timm(small, tmp_path / "out")
    with pytest.raises(ConfigError, match="--timm writes a folder"):
        export_timm(run, tmp_path / "m.onnx")
    with pytest.raises(ConfigError, match="holds another config.json"):
        export_timm(run, run)
    assert not (tmp_path / "out").exists()


def test_the_command(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path / "run", "resnet10t", 32)
    out = tmp_path / "out"
    assert f"local-dir:{out}" in invoke("export", str(run), "-o", str(out), "--timm").replace("\n", "")
    told = invoke("export", str(run), "-o", str(out), "--timm", "--layer", "projector", code=2)
    assert "end at layer 'backbone'" in told
