"""make_views and normalize: equality with torchvision end to end, determinism, and a contract for every operation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torchvision.transforms.v2 import functional as tv

from nearkin.augment import RECIPES, Recipe, blur, color, crop, get_recipe, make_views, normalize
from nearkin.augment.views import ViewParameters, _augment, sample_view
from nearkin.errors import ConfigError

EVERYTHING = Recipe(
    "everything", interpolation="bicubic", crop_scale=(0.1, 1.0), brightness=0.8, contrast=0.8, saturation=0.8, hue=0.3,
    gray_p=0.3, blur_p=0.5, blur_kernel=5, solarize_p=0.3,
)  # fmt: skip


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def some_images(n: int = 12, height: int = 16, width: int = 16) -> Tensor:
    """Smooth images with black and white areas (bicubic overshoots there), as uint8."""
    coarse = torch.rand(n, 3, 4, 4, generator=generator(99))
    smooth = torch.nn.functional.interpolate(coarse, (height, width)) * 1.6 - 0.3
    return smooth.clamp(0, 1).mul(255).round().to(torch.uint8)


def by_torchvision(image: Tensor, recipe: Recipe, parameters: ViewParameters, k: int, size: int) -> Tensor:
    """One view of one image, by torchvision's functions with the same parameters."""
    x = image.float() / 255
    mode = tv.InterpolationMode(recipe.interpolation)
    x = tv.resized_crop(x, *parameters.boxes[k].tolist(), [size, size], interpolation=mode, antialias=False)
    x = x.clamp(0, 1)
    if parameters.flip[k]:
        x = tv.horizontal_flip(x)
    x = tv.adjust_brightness(x, parameters.jitter.brightness[k].item())
    x = tv.adjust_contrast(x, parameters.jitter.contrast[k].item())
    x = tv.adjust_saturation(x, parameters.jitter.saturation[k].item())
    x = tv.adjust_hue(x, parameters.jitter.hue[k].item())
    if parameters.gray[k]:
        x = tv.rgb_to_grayscale(x, num_output_channels=3)
    sigma = parameters.sigma[k].item()
    if sigma > 0:
        x = tv.gaussian_blur(x, [recipe.blur_kernel] * 2, [sigma, sigma])
    if parameters.threshold[k].isfinite():
        x = tv.solarize(x, parameters.threshold[k].item())
    return tv.normalize(x, list(recipe.mean), list(recipe.std))


@pytest.mark.parametrize("recipe", [*RECIPES.values(), EVERYTHING], ids=lambda recipe: recipe.name)
@pytest.mark.parametrize("size", [16, 11])
def test_views_equal_torchvision_given_the_same_parameters(recipe: Recipe, size: int) -> None:
    images = some_images()
    views = make_views(images, recipe, generator(1), n_views=2, size=size)
    source = generator(1)
    for view in views:
        parameters = sample_view(recipe, len(images), 16, 16, source)
        expected = torch.stack([by_torchvision(images[k], recipe, parameters, k, size) for k in range(len(images))])
        close = (view - expected).abs() < 1e-4
        # A value within rounding of the threshold may be solarized by one and not the other; nothing else may differ.
        differing = (~close).float().mean().item()
        assert differing < (1e-3 if recipe.solarize_p else 1e-9)


@pytest.mark.parametrize("name", RECIPES)
def test_same_seed_same_views(name: str) -> None:
    images = some_images()
    first = make_views(images, get_recipe(name), generator(3))
    again = make_views(images, get_recipe(name), generator(3))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_seeds_views_and_images_all_differ() -> None:
    images = some_images(1).expand(8, 3, 16, 16)
    a, b = make_views(images, get_recipe("reference"), generator(0))
    (c,) = make_views(images, get_recipe("reference"), generator(1), n_views=1)
    for left, right in ((a, b), (a, c), (b, c)):
        assert bool(((left - right).flatten(1).abs().amax(1) > 1e-3).all())
    flat = a.flatten(1)
    assert torch.cdist(flat, flat).add(torch.eye(8) * 1e3).min().item() > 1e-2  # the same image 8 times, 8 views


def test_an_image_does_not_see_its_batch() -> None:
    images = some_images()
    other = images.clone()
    other[1:] = 255 - other[1:]
    for recipe in (get_recipe("reference"), EVERYTHING):
        a = make_views(images, recipe, generator(5), n_views=1)[0]
        b = make_views(other, recipe, generator(5), n_views=1)[0]
        torch.testing.assert_close(a[0], b[0], rtol=0, atol=1e-6)
        assert not torch.allclose(a[1], b[1], atol=1e-2)


def test_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_images(10)
    whole = make_views(images, EVERYTHING, generator(6))
    monkeypatch.setattr("nearkin.augment.views._CHUNK_PIXELS", 3 * 16 * 16)  # 3 + 3 + 3 + 1 images
    parts = make_views(images, EVERYTHING, generator(6))
    for a, b in zip(whole, parts, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


def test_the_path_for_gpus_equals_the_one_for_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    images = some_images()
    expected = make_views(images, EVERYTHING, generator(9))
    for module in (color, blur):
        monkeypatch.setattr(module, "indexes", lambda images: False)
    for a, b in zip(make_views(images, EVERYTHING, generator(9)), expected, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-5)


@pytest.mark.parametrize("recipe", [*RECIPES.values(), EVERYTHING], ids=lambda recipe: recipe.name)
def test_no_step_for_gpus_reads_a_value_back(recipe: Recipe) -> None:
    """Tensors without values: anything that would wait for one (item, nonzero, a boolean mask) raises."""
    with FakeTensorMode():
        parameters = sample_view(recipe, 8, 16, 16, generator())
    meta = torch.device("meta")
    for interpolation in crop.INTERPOLATIONS:
        variant = dataclasses.replace(recipe, interpolation=interpolation)
        images = torch.empty(8, 3, 16, 16, dtype=torch.uint8, device=meta)
        plain = ViewParameters(*(map_meta(value) for value in parameters))  # type: ignore[arg-type]
        assert _augment(images, variant, plain, (12, 12)).shape == (8, 3, 12, 12)


def map_meta(value: Tensor | color.Jitter) -> Tensor | color.Jitter:
    if isinstance(value, color.Jitter):
        return color.Jitter(*(torch.empty(v.shape, dtype=v.dtype, device="meta") for v in value))
    return torch.empty(value.shape, dtype=value.dtype, device="meta")


def test_the_global_generator_is_left_alone() -> None:
    before = torch.random.get_rng_state()
    make_views(some_images(), EVERYTHING, generator())
    assert torch.equal(before, torch.random.get_rng_state())


def test_images_are_left_alone() -> None:
    images = some_images()
    before = images.clone()
    make_views(images, EVERYTHING, generator())
    normalize(images, EVERYTHING)
    assert torch.equal(images, before)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_dtype_and_memory_format(dtype: torch.dtype, memory_format: torch.memory_format) -> None:
    images = some_images()
    exact = make_views(images, EVERYTHING, generator(7))
    views = make_views(images, EVERYTHING, generator(7), dtype=dtype, memory_format=memory_format)
    for view, full in zip(views, exact, strict=True):
        assert view.dtype == dtype
        assert view.is_contiguous(memory_format=memory_format)
        assert torch.equal(view, full.to(dtype))  # float32 arithmetic whatever the result's type
    test = normalize(images, EVERYTHING, dtype, memory_format=memory_format)
    assert test.dtype == dtype and test.is_contiguous(memory_format=memory_format)


def test_autocast_does_not_lower_the_precision() -> None:
    images = some_images()
    plain = make_views(images, EVERYTHING, generator(8))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        cast = make_views(images, EVERYTHING, generator(8))
    assert all(torch.equal(a, b) for a, b in zip(plain, cast, strict=True))


def test_none_is_normalize() -> None:
    images = some_images()
    for view in make_views(images, get_recipe("none"), generator()):
        torch.testing.assert_close(view, normalize(images, get_recipe("none")), rtol=0, atol=1e-5)


def test_normalize_equals_torchvision() -> None:
    images, recipe = some_images(), get_recipe("cifar")
    expected = tv.normalize(images.float() / 255, list(recipe.mean), list(recipe.std))
    torch.testing.assert_close(normalize(images, recipe), expected, rtol=0, atol=1e-5)


def test_sizes_other_than_the_inputs() -> None:
    for images, size in ((some_images(4, 20, 20), 8), (some_images(4, 10, 30), 16), (some_images(1), 24)):
        for view in make_views(images, EVERYTHING, generator(), n_views=3, size=size):
            assert view.shape == (len(images), 3, size, size)
    assert make_views(some_images(4, 10, 30), EVERYTHING, generator())[0].shape == (4, 3, 10, 30)


def test_an_empty_batch_gives_empty_views() -> None:
    assert [view.shape for view in make_views(some_images(4)[:0], EVERYTHING, generator())] == [(0, 3, 16, 16)] * 2


@pytest.mark.parametrize(
    "images", [torch.rand(2, 3, 8, 8), torch.zeros(2, 1, 8, 8, dtype=torch.uint8), torch.zeros(3, 8, 8).byte()]
)
def test_wrong_input_is_a_one_line_error(images: Tensor) -> None:
    with pytest.raises(ConfigError, match="must be uint8"):
        make_views(images, get_recipe("none"), generator())
    with pytest.raises(ConfigError, match="must be uint8"):
        normalize(images, get_recipe("none"))


def test_a_blur_wider_than_the_image_is_a_one_line_error() -> None:
    recipe = Recipe("wide", blur_p=0.5, blur_kernel=21)
    with pytest.raises(ConfigError, match="blur_kernel 21"):
        make_views(some_images(2, 10, 10), recipe, generator())


OPERATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "contrast": lambda x: color.contrast_(x, torch.linspace(0, 3, len(x))),
    "saturation": lambda x: color.saturation_(x, torch.linspace(0, 3, len(x))),
    "hue": lambda x: color.hue_(x, torch.linspace(-0.5, 0.5, len(x))),
    "grayscale": lambda x: color.grayscale_(x, color.sample_grayscale(len(x), generator(), p=0.5)),
    "solarize": lambda x: color.solarize_(x, color.sample_solarize(len(x), generator(), p=0.5)),
    "blur": lambda x: blur.blur_(x, blur.sample_blur(len(x), generator(), p=0.7)),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_contract_of_every_operation(name: str) -> None:
    images = some_images(10, 12, 12).float() / 255
    images[0], images[1] = 0, 1
    mine = images.clone()
    out = OPERATIONS[name](mine)
    assert out is mine, "not in place"
    assert out.dtype == torch.float32 and out.shape == (10, 3, 12, 12)
    assert bool(out.isfinite().all())
    assert out.min().item() >= 0 and out.max().item() <= 1 + 1e-6
    noncontiguous = OPERATIONS[name](images.clone(memory_format=torch.channels_last))
    torch.testing.assert_close(noncontiguous, out, rtol=0, atol=1e-6)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("recipe", [*RECIPES.values(), EVERYTHING], ids=lambda recipe: recipe.name)
def test_cuda_equals_cpu_without_waiting(recipe: Recipe) -> None:
    images = some_images().cuda()
    cuda_generator = torch.Generator("cuda").manual_seed(0)
    make_views(images, recipe, cuda_generator)  # constants are built once
    torch.cuda.set_sync_debug_mode("error")
    try:
        views = make_views(images, recipe, cuda_generator.manual_seed(0))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert all(view.is_cuda and bool(view.isfinite().all()) for view in views)
    shared = make_views(images, recipe, generator(1))  # parameters drawn on the CPU
    for a, b in zip(shared, make_views(images.cpu(), recipe, generator(1)), strict=True):
        share = ((a.cpu() - b).abs() > 1e-3).float().mean().item()
        assert share < (1e-3 if recipe.solarize_p else 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("recipe", [get_recipe("reference"), EVERYTHING], ids=lambda recipe: recipe.name)
def test_compiled_views_are_the_plain_ones(recipe: Recipe) -> None:
    images = some_images(21)
    plain, compiled = (make_views(images, recipe, generator(3), compiled=c) for c in (False, True))
    for a, b in zip(plain, compiled, strict=True):
        assert torch.allclose(a, b, atol=1e-4)
