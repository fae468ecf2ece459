"""Kernels from principal axes: against scikit-learn, what stays random, what is refused."""

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
from nearkin.nets import Encoder, create_encoder
from nearkin.nets.stem import set_axes

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
