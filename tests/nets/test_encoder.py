"""One contract for every encoder: shapes, finite values, gradients, the stem chosen by image size."""

from __future__ import annotations

import pytest
import torch

from nearkin.errors import ConfigError
from nearkin.nets import create_encoder, encoder_names, projector


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
