"""Encoders by name, all with the same interface: an image batch in, named feature layers out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from nearkin.errors import ConfigError, unknown
from nearkin.nets.fast import FastNet

SMALL_IMAGE = 64  # up to this side, a 3x3 stride-1 stem without max-pool (chosen by size, never by data set name)
_REFERENCE_WIDTH = 128


class Encoder(nn.Module):
    """A backbone and, optionally, a representation head.

    Attributes:
        backbone: (B, 3, S, S) -> (B, F), pooled features.
        head: (B, F) -> (B, D), or None; its output is the layer "representation".
        out_features: width of what :meth:`forward` returns.
        layer_names: ("backbone",) or ("backbone", "representation").
        timm: name and arguments with which ``timm.create_model`` builds a net of the backbone's computation and names of
            weights; None where timm has none.
    """

    def __init__(
        self,
        backbone: nn.Module,
        num_features: int,
        head: nn.Module | None = None,
        head_width: int = 0,
        *,
        timm: tuple[str, dict[str, Any]] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.timm = timm
        self.head = head
        self.out_features = head_width if head is not None else num_features
        self.layer_names = ("backbone", "representation") if head is not None else ("backbone",)

    @property
    def primary_layer(self) -> str:
        """The layer that downstream work uses: the representation where there is one."""
        return self.layer_names[-1]

    def layers(self, x: Tensor) -> dict[str, Tensor]:
        """(B, 3, S, S) -> every layer by name, each (B, width)."""
        features = self.backbone(x)
        if self.head is None:
            return {"backbone": features}
        return {"backbone": features, "representation": self.head(features)}

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)[self.primary_layer]


def _resnet18(image_size: int) -> tuple[nn.Module, int]:
    from torchvision.models import resnet18

    net = resnet18(weights=None)
    if image_size <= SMALL_IMAGE:
        net.conv1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False)
        nn.init.kaiming_normal_(net.conv1.weight, mode="fan_out", nonlinearity="relu")
        net.maxpool = nn.Identity()
    width = net.fc.in_features
    net.fc = nn.Identity()
    return net, width


def _timm_resnet18(image_size: int) -> tuple[str, dict[str, Any]] | None:
    """torchvision's ResNet-18 is timm's; no argument of timm's gives it the small images' stem."""
    return None if image_size <= SMALL_IMAGE else ("resnet18", {"num_classes": 0})


def _build_resnet18(image_size: int) -> Encoder:
    return Encoder(*_resnet18(image_size), timm=_timm_resnet18(image_size))


def _build_reference(image_size: int) -> Encoder:
    """ResNet-18 with the reference study's head: fc 512 -> 512, BatchNorm, ReLU, linear -> 128."""
    net, width = _resnet18(image_size)
    head = nn.Sequential(
        nn.Linear(width, width), nn.BatchNorm1d(width), nn.ReLU(inplace=True), nn.Linear(width, _REFERENCE_WIDTH)
    )
    return Encoder(net, width, head, _REFERENCE_WIDTH, timm=_timm_resnet18(image_size))


def _fast(*widths: int, features: int, positions: int = 16) -> Callable[[int], Encoder]:
    def build(image_size: int) -> Encoder:
        net = FastNet(image_size, widths, features, positions)
        return Encoder(net, net.num_features)

    return build


_BUILDERS: dict[str, Callable[[int], Encoder]] = {
    "fast": _fast(64, 128, 256, features=1024),
    "fast-2048": _fast(64, 128, 256, features=2048),
    "fast-4096": _fast(64, 128, 256, features=4096),
    "fast-tiny": _fast(32, 64, 256, features=1024),
    "fast-mini": _fast(64, 128, features=512, positions=8),
    "resnet18-small": _build_resnet18,
    "reference": _build_reference,
}


def encoder_names() -> tuple[str, ...]:
    """Names of the built-in encoders. Any timm model name is legal too."""
    return tuple(_BUILDERS)


def _build_timm(name: str, image_size: int) -> Encoder:
    import timm

    if name not in timm.list_models():
        raise unknown("encoder", name, [*encoder_names(), *timm.list_models("resnet*")[:3], "... any timm model"])
    arguments: dict[str, Any] = {"num_classes": 0, "in_chans": 3, "img_size": image_size}
    try:
        net = timm.create_model(name, pretrained=False, **arguments)
    except TypeError:  # convolutional nets take no img_size
        del arguments["img_size"]
        net = timm.create_model(name, pretrained=False, **arguments)
    return Encoder(net, int(net.num_features), timm=(name, arguments))


def create_encoder(name: str, image_size: int) -> Encoder:
    """Build an untrained encoder for square images.

    Args:
        name: one of :func:`encoder_names`, or any name in ``timm.list_models()``.
        image_size: side S in pixels; it decides the stem.
    Raises:
        ConfigError: unknown name (with "did you mean"), or an image too small for the net.
    """
    if image_size < 8:
        raise ConfigError(f"images of {image_size} x {image_size} pixels are too small for an encoder; at least 8 x 8.")
    if name in _BUILDERS:
        return _BUILDERS[name](image_size)
    return _build_timm(name, image_size)
