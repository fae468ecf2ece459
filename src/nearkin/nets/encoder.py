"""Encoders by name, all with the same interface: an image batch in, named feature layers out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from nearkin.errors import ConfigError, unknown

SMALL_IMAGE = 64  # up to this side, a 3x3 stride-1 stem without max-pool (chosen by size, never by data set name)
_REFERENCE_WIDTH = 128
_AT_ONCE = 1024  # channels of one widening convolution of FastNet
STEMS = ("random", "axes")
_PATCHES = 500_000  # bounds the memory for large images


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


class Block(nn.Module):
    """Two 3x3 convolutions with BatchNorm, and a projected shortcut where shape changes. (B, C, H, W) -> same rank."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or in_channels != out_channels:
            conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
            self.shortcut = nn.Sequential(conv, nn.BatchNorm2d(out_channels))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.shortcut(x))


def pool(x: Tensor) -> Tensor:
    """Global average: (B, C, H, W) -> (B, C).

    Channels-last maps are read as they lie in memory, and so is the gradient written: torch's own average over the last two
    dimensions hands back a gradient in the other layout, on which the ReLU before it spends 19 instead of 0.7 ms (LOG.md).
    """
    return x.permute(0, 2, 3, 1).flatten(1, 2).mean(1)


def _widening(in_channels: int, out_channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, out_channels, 1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class FastNet(nn.Module):
    """A small residual net shaped for CPUs: a strided patch stem keeps every stage compute-bound.

    Most of the time of a small-image ResNet on a CPU goes into memory traffic at full resolution. Here the stem reads
    overlapping patches at stride S / P, so that the first stage already works on P x P positions. One block per width
    follows, at P, P/2, P/4, ... positions, then global average pooling.

    Args:
        image_size: S, side of the square input in pixels (at least 8).
        widths: channels of each stage.
        positions: P, about the side of the first stage's maps: the stem's stride is S / P, rounded.
        features: F, feature width. Where it exceeds the last stage's, 1x1 convolutions of at most 1,024 channels widen the last
            map before pooling: a wide feature vector helps linear rules and costs far less than a wide stage. One convolution
            for all of 4,096 channels is slower: its maps do not fit in any cache, and the system
            reclaims blocks of more than 32 MB and maps them again, page by page, in each step.
    Shapes: (B, 3, S, S) -> (B, F).
    """

    def __init__(self, image_size: int, widths: Sequence[int], features: int, positions: int = 16) -> None:
        super().__init__()
        stride = max(1, round(image_size / positions))
        kernel = 2 * stride if stride > 1 else 3
        stem = nn.Conv2d(3, widths[0], kernel, stride, (kernel - stride) // 2 if stride > 1 else 1, bias=False)
        self.stem = nn.Sequential(stem, nn.BatchNorm2d(widths[0]), nn.ReLU(inplace=True))
        blocks = [Block(widths[0], widths[0], 1)]
        blocks += [Block(a, b, 2) for a, b in zip(widths[:-1], widths[1:], strict=True)]
        self.blocks = nn.Sequential(*blocks)
        self.widen: nn.Module = nn.Identity()
        self.wider = nn.ModuleList()
        if features != widths[-1]:
            self.widen = _widening(widths[-1], min(features, _AT_ONCE))
            rest = range(_AT_ONCE, features, _AT_ONCE)
            self.wider.extend(_widening(widths[-1], min(_AT_ONCE, features - start)) for start in rest)
        self.num_features = features

    def forward(self, x: Tensor) -> Tensor:
        maps = self.blocks(self.stem(x))
        return torch.cat([pool(widen(maps)) for widen in (self.widen, *self.wider)], dim=1)


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
    """timm's equivalent of torchvision's ResNet-18. timm has no argument for the stem of small images."""
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


@torch.no_grad()
def set_axes(encoder: nn.Module, images: Tensor) -> None:
    """Let the first convolution's kernels be the principal axes of patches, the widest spread first, in place.

    So it starts from the images' own statistics instead of random kernels, as in the patch-whitening layer of Page ("How to
    train your ResNet", part 8, 2019) and Jordan ("94% on CIFAR-10 in 3.29 Seconds on a Single GPU", 2024), each axis with
    both signs, so that the ReLU behind it loses nothing. Deviations: the axes are not scaled by their spread (BatchNorm does
    that), and training changes them like any kernel.

    With O kernels of K numbers, min(O / 2, K) axes are used; kernels beyond those keep their random start.

    Args:
        images: float32 (N, 3, S, S), normalised as at the net's entrance; a thousand or two suffice, in any order.
    Raises:
        ConfigError: the encoder does not begin with an ordinary convolution of three channels.
    """
    conv = next((module for module in encoder.modules() if isinstance(module, nn.Conv2d)), None)
    if conv is None or conv.in_channels != 3 or conv.groups != 1 or conv.dilation != (1, 1):
        raise ConfigError(
            "stem=axes needs an encoder that begins with an ordinary convolution of 3 channels; use stem=random."
        )
    (height, width), (down, right) = conv.kernel_size, conv.stride
    each = ((images.shape[2] - height) // down + 1) * ((images.shape[3] - width) // right + 1)
    some = images[:: -(-len(images) * each // _PATCHES)]
    patches = nn.functional.unfold(some, (height, width), stride=(down, right)).transpose(1, 2).flatten(0, 1)
    axes = torch.linalg.eigh(torch.cov(patches.T))[1].flip(1).T[: conv.out_channels // 2]
    signed = torch.cat([axes, -axes]).view(-1, *conv.weight.shape[1:])
    conv.weight[: len(signed)] = signed.to(conv.weight)
