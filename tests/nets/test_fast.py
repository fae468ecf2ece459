"""Pooling and wide features of the fast nets against torch's own layers."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from nearkin.nets.fast import FastNet, pool


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
