"""Crop and flip against torchvision, image by image."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import RandomResizedCrop
from torchvision.transforms.v2 import functional as tv

from nearkin.augment import crop


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def expected_crop(image: torch.Tensor, box: list[int], size: tuple[int, int], interpolation: str) -> torch.Tensor:
    mode = tv.InterpolationMode(interpolation)
    return tv.resized_crop(image, *box, list(size), interpolation=mode, antialias=False).clamp(0, 1)


def resized_crop(
    images: torch.Tensor,
    boxes: torch.Tensor,
    size: int | tuple[int, int],
    interpolation: str = "bilinear",
    flip: torch.Tensor | None = None,
) -> torch.Tensor:
    rows, columns = crop.crop_matrices(boxes, size, images.shape[-2:], interpolation=interpolation, flip=flip)
    return crop.separable(images, rows, columns).clamp(0, 1)


@pytest.mark.parametrize("interpolation", crop.INTERPOLATIONS)
@pytest.mark.parametrize("shape, size", [((32, 32), 32), ((32, 32), 20), ((24, 40), (48, 16)), ((7, 5), 9)])
def test_resized_crop_equals_torchvision(
    interpolation: str, shape: tuple[int, int], size: int | tuple[int, int]
) -> None:
    images = torch.rand(24, 3, *shape, generator=generator())
    boxes = crop.sample_crop(24, *shape, generator(1), scale=(0.05, 1.0), ratio=(0.5, 2.0))
    boxes[0] = torch.tensor([0, 0, *shape])  # the whole image
    boxes[1] = torch.tensor([shape[0] - 1, shape[1] - 1, 1, 1])  # one pixel, in the corner
    boxes[2] = torch.tensor([2, 3, 2, 1])
    ours = resized_crop(images, boxes, size, interpolation=interpolation)
    pair = (size, size) if isinstance(size, int) else size
    theirs = torch.stack([expected_crop(images[k], boxes[k].tolist(), pair, interpolation) for k in range(24)])
    torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-5)


@pytest.mark.parametrize("interpolation", crop.INTERPOLATIONS)
def test_flip_inside_the_crop_equals_flip_after_it(interpolation: str) -> None:
    images = torch.rand(16, 3, 12, 12, generator=generator())
    boxes = crop.sample_crop(16, 12, 12, generator(1))
    flip = crop.sample_flip(16, generator(2))
    assert 0 < int(flip.sum()) < 16
    fused = resized_crop(images, boxes, 10, interpolation=interpolation, flip=flip)
    plain = resized_crop(images, boxes, 10, interpolation=interpolation)
    for k in range(16):
        expected = tv.horizontal_flip(plain[k]) if flip[k] else plain[k]
        torch.testing.assert_close(fused[k], expected, rtol=0, atol=1e-5)


def test_whole_image_at_its_own_size_is_exact() -> None:
    images = torch.rand(3, 3, 17, 17, generator=generator())
    boxes = crop.whole(3, 17, 17, torch.device("cpu"))
    assert torch.equal(resized_crop(images, boxes, 17), images)


def test_any_memory_layout_gives_the_same_crop() -> None:
    images = torch.rand(5, 3, 16, 16, generator=generator())
    boxes = crop.sample_crop(5, 16, 16, generator(1))
    plain = resized_crop(images, boxes, 8)
    last = resized_crop(images.to(memory_format=torch.channels_last), boxes, 8)
    torch.testing.assert_close(plain, last, rtol=0, atol=1e-6)


@pytest.mark.parametrize(
    "shape, scale, ratio",
    [
        ((32, 32), (0.2, 1.0), (3 / 4, 4 / 3)),
        ((32, 32), (0.9, 1.0), (3 / 4, 4 / 3)),  # many tries fail
        ((20, 60), (0.6, 1.0), (3 / 4, 4 / 3)),  # every try fails: the central fallback, wide image
        ((60, 20), (0.6, 1.0), (3 / 4, 4 / 3)),  # and tall
        ((32, 24), (0.08, 0.5), (0.5, 2.0)),
    ],
)
def test_boxes_are_distributed_like_torchvision(
    shape: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    n = 2000
    ours = crop.sample_crop(n, *shape, generator(3), scale=scale, ratio=ratio)
    image = torch.empty(3, *shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(4)
        theirs = torch.tensor([RandomResizedCrop.get_params(image, list(scale), list(ratio)) for _ in range(n)])
    for column in range(4):
        assert ks_2samp(ours[:, column].numpy(), theirs[:, column].numpy(), method="asymp").pvalue > 1e-3
    area = [(boxes[:, 2] * boxes[:, 3]).numpy() for boxes in (ours, theirs)]
    assert ks_2samp(*area, method="asymp").pvalue > 1e-3


def test_boxes_lie_inside_and_reach_every_position() -> None:
    boxes = crop.sample_crop(20000, 8, 8, generator(), scale=(0.2, 0.4))
    top, left, height, width = boxes.unbind(1)
    assert int(top.min()) == 0 and int(left.min()) == 0
    assert bool((height >= 1).all()) and bool((width >= 1).all())
    assert int((top + height).max()) == 8 and int((left + width).max()) == 8
    narrow = left[width == 4]
    counts = torch.bincount(narrow, minlength=5).float() / len(narrow)
    torch.testing.assert_close(counts, torch.full((5,), 0.2), rtol=0, atol=0.02)


def test_fallback_is_the_largest_central_crop() -> None:
    boxes = crop.sample_crop(50, 10, 40, generator(), scale=(1.0, 1.0))
    assert boxes.unique(dim=0).tolist() == [[0, 13, 10, 13]]


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_flip_happens_with_probability_p(p: float) -> None:
    share = crop.sample_flip(10000, generator(), p=p).float().mean().item()
    assert share == pytest.approx(p, abs=0.02 if 0 < p < 1 else 0)
