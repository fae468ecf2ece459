"""Colour operations against torchvision, image by image."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import ks_2samp, kstest
from torchvision.transforms import ColorJitter
from torchvision.transforms.v2 import functional as tv

from nearkin.augment import color

N = 32


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images() -> torch.Tensor:
    """Noise, plus images at the edges of the colour space: black, white, gray, pure and tied channels."""
    images = torch.rand(N, 3, 9, 11, generator=generator())
    images[0], images[1], images[2] = 0.0, 1.0, 0.5
    for k in range(3):
        images[3 + k] = 0.0
        images[3 + k, k] = 1.0
        images[6 + k] = 0.8
        images[6 + k, k] = 0.2  # two channels tie for the maximum
    images[9] = (images[9] * 4).round() / 4  # many ties
    return images


@pytest.mark.parametrize("name, low, high", [("contrast", 0, 2), ("saturation", 0, 3)])
def test_factor_equals_torchvision(name: str, low: float, high: float) -> None:
    images = some_images()
    factor = torch.linspace(low, high, N)[torch.randperm(N, generator=generator(1))]
    ours = getattr(color, f"{name}_")(images.clone(), factor)
    adjust = getattr(tv, f"adjust_{name}")
    theirs = torch.stack([adjust(images[k], factor[k].item()) for k in range(N)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


def test_hue_equals_torchvision() -> None:
    images = some_images()
    for seed in range(3):
        shift = torch.rand(N, generator=generator(seed)) - 0.5
        ours = color.hue_(images.clone(), shift)
        theirs = torch.stack([tv.adjust_hue(images[k], shift[k].item()) for k in range(N)])
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)
    for shift_all in (-0.5, 0.0, 0.5):
        ours = color.hue_(images.clone(), torch.full((N,), shift_all))
        torch.testing.assert_close(ours, tv.adjust_hue(images, shift_all), rtol=0, atol=1e-5)


def test_three_in_a_row_equal_torchvision() -> None:
    images = some_images()
    jitter = color.sample_jitter(N, generator(2), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.4, p=0.7)
    ours = images.clone()
    for step, parameter in zip((color.contrast_, color.saturation_, color.hue_), jitter[1:], strict=True):
        assert step(ours, parameter) is ours
    for k in range(N):
        image = tv.adjust_contrast(images[k], jitter.contrast[k].item())
        image = tv.adjust_saturation(image, jitter.saturation[k].item())
        image = tv.adjust_hue(image, jitter.hue[k].item())
        torch.testing.assert_close(ours[k], image, rtol=0, atol=1e-5)


def test_grayscale_equals_torchvision() -> None:
    images = some_images()
    gray = color.sample_grayscale(N, generator(), p=0.5)
    assert 0 < int(gray.sum()) < N
    ours = color.grayscale_(images.clone(), gray)
    for k in range(N):
        expected = tv.rgb_to_grayscale(images[k], num_output_channels=3) if gray[k] else images[k]
        torch.testing.assert_close(ours[k], expected, rtol=0, atol=1e-6)


def test_solarize_equals_torchvision() -> None:
    images = some_images()
    threshold = color.sample_solarize(N, generator(), p=0.5, threshold=0.5)
    assert 0 < int(threshold.isfinite().sum()) < N
    ours = color.solarize_(images.clone(), threshold)
    for k in range(N):
        assert torch.equal(ours[k], tv.solarize(images[k], 0.5) if threshold[k] < 1 else images[k])


def test_neutral_parameters_change_nothing() -> None:
    images = some_images()
    jitter = color.sample_jitter(N, generator(), p=0.0)
    assert [value.unique().tolist() for value in jitter] == [[1.0], [1.0], [1.0], [0.0]]
    for name, factor in zip(("contrast", "saturation"), jitter[1:3], strict=True):
        assert torch.equal(getattr(color, f"{name}_")(images.clone(), factor), images)
    torch.testing.assert_close(color.hue_(images.clone(), jitter.hue), images, rtol=0, atol=2e-6)
    assert torch.equal(color.grayscale_(images.clone(), torch.zeros(N, dtype=torch.bool)), images)
    assert torch.equal(color.solarize_(images.clone(), torch.full((N,), float("inf"))), images)


@pytest.mark.parametrize("strengths", [(0.4, 0.4, 0.2, 0.1), (1.5, 0.0, 1.0, 0.5)])
def test_jitter_is_distributed_like_torchvision(strengths: tuple[float, float, float, float]) -> None:
    n = 2000
    brightness, contrast, saturation, hue = strengths
    ours = color.sample_jitter(
        n, generator(5), brightness=brightness, contrast=contrast, saturation=saturation, hue=hue, p=1.0
    )
    reference = ColorJitter(*strengths)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        drawn = [
            ColorJitter.get_params(reference.brightness, reference.contrast, reference.saturation, reference.hue)[1:]
            for _ in range(n)
        ]
    for k, neutral in enumerate((1.0, 1.0, 1.0, 0.0)):
        if strengths[k] == 0:  # torchvision says None
            assert ours[k].unique().tolist() == [neutral]
            continue
        theirs = torch.tensor([row[k] for row in drawn])
        assert ks_2samp(ours[k].numpy(), theirs.numpy(), method="asymp").pvalue > 1e-3


def test_parameters_are_independent_of_each_other() -> None:
    jitter = color.sample_jitter(4000, generator(7), p=1.0)
    correlation = torch.corrcoef(torch.stack(tuple(jitter))) - torch.eye(4)
    assert correlation.abs().max().item() < 0.06


def test_jitter_applies_to_a_share_of_p_as_a_whole() -> None:
    jitter = color.sample_jitter(10000, generator(8), p=0.8)
    changed = torch.stack([jitter.brightness != 1, jitter.contrast != 1, jitter.saturation != 1, jitter.hue != 0])
    assert bool((changed.all(0) == changed.any(0)).all())
    assert changed[0].float().mean().item() == pytest.approx(0.8, abs=0.02)
    applied = jitter.hue[changed[0]]
    assert kstest((applied.numpy() + 0.1) / 0.2, "uniform").pvalue > 1e-3


@pytest.mark.parametrize("p", [0.0, 0.2, 1.0])
def test_grayscale_and_solarize_happen_with_probability_p(p: float) -> None:
    tolerance = 0.02 if 0 < p < 1 else 0
    assert color.sample_grayscale(10000, generator(), p=p).float().mean().item() == pytest.approx(p, abs=tolerance)
    threshold = color.sample_solarize(10000, generator(), p=p, threshold=0.25)
    assert set(threshold.unique().tolist()) <= {0.25, float("inf")}
    assert threshold.isfinite().float().mean().item() == pytest.approx(p, abs=tolerance)
