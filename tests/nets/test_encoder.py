"""One contract for every encoder; pooling and wide features of the fast nets; stems by size and from principal axes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.feature_extraction.image import extract_patches_2d
from torch import nn

from nearkin.data import ImageSet, Splits
from nearkin.errors import ConfigError
from nearkin.methods import FitContext, create
from nearkin.methods.byol import BYOLNet
from nearkin.methods.joint import JointEmbedding
from nearkin.nets import Encoder, create_encoder, encoder_names, projector
from nearkin.nets.encoder import FastNet, pool, set_axes


@pytest.mark.parametrize("name", [*encoder_names(), "resnet10t"])
@pytest.mark.parametrize("size", [28, 32])
def test_contract(name: str, size: int) -> None:
    torch.manual_seed(0)
    encoder = create_encoder(name, size)
    x = torch.randn(3, 3, size, size)
    layers = encoder.layers(x)
    assert tuple(layers) == encoder.layer_names
    assert layers[encoder.primary_layer].shape == (3, encoder.out_features)
    assert all(torch.isfinite(z).all() for z in layers.values())
    layers[encoder.primary_layer].square().sum().backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in encoder.parameters())


def test_eval_mode_embeds_each_image_by_itself() -> None:
    encoder = create_encoder("fast-tiny", 32).eval()
    x = torch.randn(4, 3, 32, 32)
    torch.testing.assert_close(encoder(x)[1:2], encoder(x[1:2]))


def test_reference_has_the_studys_widths() -> None:
    encoder = create_encoder("reference", 32)
    layers = encoder.eval().layers(torch.randn(2, 3, 32, 32))
    assert {name: z.shape[1] for name, z in layers.items()} == {"backbone": 512, "representation": 128}


def test_stem_follows_image_size() -> None:
    small, large = create_encoder("resnet18-small", 32), create_encoder("resnet18-small", 128)
    assert small.backbone.conv1.stride == (1, 1)  # type: ignore[union-attr]
    assert large.backbone.conv1.stride == (2, 2)  # type: ignore[union-attr]


def test_fast_net_works_at_16_positions_whatever_the_size() -> None:
    for size in (16, 28, 32, 64, 96):
        stem = create_encoder("fast-tiny", size).backbone.stem  # type: ignore[union-attr]
        assert 14 <= stem(torch.zeros(1, 3, size, size)).shape[-1] <= 17


def test_unknown_encoder_gets_a_hint() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'resnet18-small'"):
        create_encoder("resnet18-smal", 32)
    with pytest.raises(ConfigError, match="too small"):
        create_encoder("fast", 4)


def test_projector_ends_in_a_plain_linear_layer() -> None:
    p = projector(8, (16, 4))
    assert p(torch.randn(5, 8)).shape == (5, 4)
    assert isinstance(p[-1], torch.nn.Linear) and p[-1].bias is None


@pytest.mark.parametrize("widths", [(), (0,), (8, -1), (2**40,), (60_000, 60_000)])
def test_impossible_projectors_are_refused_before_they_take_memory(widths: tuple[int, ...]) -> None:
    with pytest.raises(ConfigError, match="projector is"):
        projector(16, widths)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_pooling_is_the_average_and_keeps_the_layout(layout: torch.memory_format) -> None:
    x = torch.randn(3, 8, 4, 5).contiguous(memory_format=layout).requires_grad_()
    z = pool(x)
    assert torch.allclose(z, nn.functional.adaptive_avg_pool2d(x, 1).flatten(1), atol=1e-6)
    weights = torch.randn(3, 8)
    (gradient,) = torch.autograd.grad((z * weights).sum(), x)
    assert torch.allclose(gradient, (weights / 20)[:, :, None, None].expand_as(x))
    if layout == torch.channels_last:
        assert gradient.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("features", "parts"), [(1024, [1024]), (2500, [1024, 1024, 452]), (4096, [1024] * 4)])
def test_wide_features_are_those_of_one_wide_convolution(features: int, parts: list[int]) -> None:
    torch.manual_seed(0)
    net = FastNet(16, (8, 16), features)
    heads = [module for module in (net.widen, *net.wider) if isinstance(module, nn.Sequential)]
    convs = [head[0] for head in heads]
    assert [conv.weight.shape[0] for conv in convs] == parts
    wide = nn.Conv2d(16, features, 1, bias=False)
    wide.weight.data = torch.cat([conv.weight.data for conv in convs])
    x = torch.randn(4, 3, 16, 16)
    maps = net.blocks(net.stem(x)).detach()
    wanted = torch.relu(nn.BatchNorm2d(features)(wide(maps))).mean((2, 3))
    found = net(x)
    assert found.shape == (4, features) == (4, net.num_features)
    assert torch.allclose(found, wanted, atol=1e-5)


def test_names_of_runs_from_before_still_fit() -> None:
    names = set(FastNet(32, (8, 16), 64).state_dict())
    assert {"widen.0.weight", "widen.1.running_mean"} <= names and not any(name.startswith("wider") for name in names)
    assert not any(name.startswith("wide") for name in FastNet(32, (8, 16), 16).state_dict())


RNG = np.random.default_rng(0)


def smooth(n: int, side: int = 32) -> torch.Tensor:
    """Images whose patches vary most in slow waves, and differently in each channel; no two axes are alike."""
    rng = torch.Generator().manual_seed(0)
    coarse = torch.randn(n, 3, side // 4, side // 4, generator=rng)
    slow = nn.functional.interpolate(coarse, size=(side, side), mode="bilinear")
    return (slow + 0.3 * torch.randn(n, 3, side, side, generator=rng)) * torch.tensor([1.0, 2.0, 4.0]).view(1, 3, 1, 1)


def kernels(encoder: nn.Module) -> torch.Tensor:
    return next(m for m in encoder.modules() if isinstance(m, nn.Conv2d)).weight.detach().flatten(1).clone()


def test_kernels_are_the_principal_axes_with_both_signs() -> None:
    images = smooth(200)
    encoder = create_encoder("fast", 32)  # 64 kernels of 4 x 4 at stride 2
    set_axes(encoder, images)
    found = kernels(encoder)
    assert torch.equal(found[:32], -found[32:])
    every = np.concatenate([extract_patches_2d(image.permute(1, 2, 0).numpy(), (4, 4)) for image in images])
    patches = every.reshape(len(images), 29, 29, 4, 4, 3)[:, ::2, ::2].transpose(0, 1, 2, 5, 3, 4).reshape(-1, 48)
    wanted = PCA(32).fit(patches)
    spread = np.var(patches @ found[:32].numpy().T, axis=0)
    assert np.allclose(spread, wanted.explained_variance_, rtol=1e-3)
    cosines = np.abs(np.sum(wanted.components_[:3] * found[:3].numpy(), axis=1))
    assert np.allclose(cosines, 1, atol=1e-2)


def test_kernels_beyond_the_axes_stay_random() -> None:
    encoder = create_encoder("resnet18-small", 32)  # 64 kernels of 27 numbers
    before = kernels(encoder)
    set_axes(encoder, smooth(50))
    after = kernels(encoder)
    assert torch.equal(after[:27], -after[27:54]) and torch.equal(after[54:], before[54:])
    assert torch.allclose(after[:27] @ after[:27].T, torch.eye(27), atol=1e-4)


def test_no_first_convolution_is_told() -> None:
    for net in (nn.Linear(3, 3), nn.Conv2d(1, 4, 3), nn.Conv2d(3, 6, 3, groups=3), nn.Conv2d(3, 6, 3, dilation=2)):
        with pytest.raises(ConfigError, match="stem=axes needs an encoder"):
            set_axes(net, smooth(2))


def test_the_untrained_encoder_starts_as_the_trained_one(tmp_path: Path) -> None:
    parts = [ImageSet(RNG.integers(0, 256, (8, 3, 32, 32), dtype=np.uint8), np.arange(8).astype(str)) for _ in range(3)]
    method = create("random-init", {"encoder": "fast-mini", "stem": "axes", "precision": "fp32"}, (3, 32, 32))
    method.fit(FitContext(Splits(*parts), tmp_path / "run", device="cpu", progress=False))
    assert isinstance(method, JointEmbedding)
    found = kernels(method.net)
    assert torch.equal(found[: len(found) // 2], -found[len(found) // 2 :])


def test_setting_reaches_every_encoder_of_a_net(tmp_path: Path) -> None:
    parts = [
        ImageSet(RNG.integers(0, 256, (32, 3, 32, 32), dtype=np.uint8), np.arange(32).astype(str)) for _ in range(3)
    ]
    settings = {
        "encoder": "fast-mini",
        "projector": (16, 8),
        "epochs": 1,
        "batch_size": 16,
        "precision": "fp32",
        "lr": 1e-9,
    }
    made = create("byol", settings | {"stem": "axes", "tau": 0.5}, (3, 32, 32))
    made.fit(FitContext(Splits(*parts), tmp_path / "run", device="cpu", progress=False))
    assert isinstance(made.net, BYOLNet)
    encoders = [module for module in made.net.modules() if isinstance(module, Encoder)]
    assert len(encoders) == 2  # BYOL's target starts as the other's copy
    for encoder in encoders:
        found = kernels(encoder)
        assert torch.allclose(found[: len(found) // 2], -found[len(found) // 2 :], atol=1e-5)
    with pytest.raises(ConfigError, match="unknown stem 'axis'. Did you mean 'axes'"):
        create("vicreg", {"stem": "axis"}, (3, 32, 32))
