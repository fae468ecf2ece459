"""Gaussian blur against torchvision, image by image."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import kstest
from torchvision.transforms.v2 import functional as tv

from nearkin.augment import blur


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kernel, shape", [(3, (32, 32)), (5, (9, 14)), (9, (14, 9)), (1, (6, 6))])
def test_blur_equals_torchvision(kernel: int, shape: tuple[int, int]) -> None:
    images = torch.rand(16, 3, *shape, generator=generator())
    sigma = blur.sample_blur(16, generator(1), p=0.6, sigma=(0.1, 2.0))
    assert 0 < int((sigma > 0).sum()) < 16
    ours = blur.blur_(images.clone(), sigma, kernel=kernel)
    for k in range(16):
        value = sigma[k].item()
        expected = tv.gaussian_blur(images[k], [kernel, kernel], [value, value]) if value > 0 else images[k]
        torch.testing.assert_close(ours[k], expected, rtol=0, atol=1e-5)


def test_zero_sigma_is_exactly_the_identity() -> None:
    taps = blur.gaussian_taps(torch.zeros(2), 5)
    assert torch.equal(taps, torch.tensor([[0.0, 0, 1, 0, 0]]).expand(2, 5))


def test_sigma_is_uniform_with_probability_p() -> None:
    sigma = blur.sample_blur(10000, generator(2), p=0.5, sigma=(0.1, 2.0))
    drawn = sigma[sigma > 0]
    assert len(drawn) / 10000 == pytest.approx(0.5, abs=0.02)
    assert kstest((drawn.numpy() - 0.1) / 1.9, "uniform").pvalue > 1e-3
    assert not blur.sample_blur(100, generator(), p=0.0).any()
