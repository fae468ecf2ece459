"""Images per second and core of batched views against torchvision and kornia, all in one run.

    python benchmarks/views.py [--recipe reference] [--batch 256] [--seconds 3]

torchvision draws one set of parameters per call, so views that differ image by image take one call per image and view:
that is what a data loader's worker does. kornia (measured where it is installed: pip install 'nearkin[benchmarks]') draws
parameters per image of a batch, as nearkin does. All sides start from uint8 tensors in memory and end at normalised float
tensors; all run on one thread; where there is a C++ compiler, nearkin's compiled views (the setting compile=true) run too; turns
alternate, and the fastest of each side counts.
"""

from __future__ import annotations

import argparse
import importlib.util
import shutil
import time
from collections.abc import Callable

import torch
from timing import cpu_name, seconds_of
from torch import Tensor
from torchvision.transforms import v2

from nearkin.augment import RECIPES, Recipe, get_recipe, make_views


def torchvision_transform(recipe: Recipe, size: int) -> v2.Transform:
    """The recipe as a torchvision pipeline for one image."""
    steps: list[torch.nn.Module] = [v2.ToDtype(torch.float32, scale=True)]
    if recipe.crop:
        mode = v2.InterpolationMode(recipe.interpolation)
        steps.append(
            v2.RandomResizedCrop(size, recipe.crop_scale, recipe.crop_ratio, interpolation=mode, antialias=False)
        )
    if recipe.flip_p > 0:
        steps.append(v2.RandomHorizontalFlip(recipe.flip_p))
    if recipe.jitter_p > 0:
        jitter = v2.ColorJitter(recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue)
        steps.append(v2.RandomApply([jitter], recipe.jitter_p))
    if recipe.gray_p > 0:
        steps.append(v2.RandomGrayscale(recipe.gray_p))
    if recipe.blur_p > 0:
        steps.append(v2.RandomApply([v2.GaussianBlur(recipe.blur_kernel, recipe.blur_sigma)], recipe.blur_p))
    if recipe.solarize_p > 0:
        steps.append(v2.RandomSolarize(recipe.solarize_threshold, recipe.solarize_p))
    steps.append(v2.Normalize(list(recipe.mean), list(recipe.std)))
    return v2.Compose(steps)


def kornia_transform(recipe: Recipe, size: int, cropping: str) -> torch.nn.Module:
    """The recipe as a kornia pipeline for batches of floats in [0, 1]. ``cropping``: how, "slice" (its default) or "resample"."""
    import kornia.augmentation as K

    steps: list[torch.nn.Module] = []
    if recipe.crop:
        mode = recipe.interpolation
        scale, ratio = recipe.crop_scale, recipe.crop_ratio
        steps.append(K.RandomResizedCrop((size, size), scale, ratio, resample=mode, cropping_mode=cropping))
    if recipe.flip_p > 0:
        steps.append(K.RandomHorizontalFlip(p=recipe.flip_p))
    if recipe.jitter_p > 0:
        steps.append(
            K.ColorJitter(recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue, p=recipe.jitter_p)
        )
    if recipe.gray_p > 0:
        steps.append(K.RandomGrayscale(p=recipe.gray_p))
    if recipe.blur_p > 0:
        kernel = (recipe.blur_kernel, recipe.blur_kernel)
        steps.append(K.RandomGaussianBlur(kernel, recipe.blur_sigma, p=recipe.blur_p))
    if recipe.solarize_p > 0:
        steps.append(K.RandomSolarize(thresholds=recipe.solarize_threshold, additions=0.0, p=recipe.solarize_p))
    steps.append(K.Normalize(torch.tensor(recipe.mean), torch.tensor(recipe.std)))
    return torch.nn.Sequential(*steps)


def main() -> None:
    parser = argparse.ArgumentParser(description="Views: batched against torchvision per image, on one core.")
    parser.add_argument("--recipe", choices=list(RECIPES), default="reference")
    parser.add_argument("--batch", type=int, default=256, help="images per batch (default 256)")
    parser.add_argument("--size", type=int, default=32, help="side of the images (default 32)")
    parser.add_argument("--views", type=int, default=2, help="views per image (default 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to measure, about (default 3)")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 channels_last output, as in training")
    parser.add_argument("--quick", action="store_true", help="a small batch, to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.batch, arguments.seconds = 16, 0.1

    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = get_recipe(arguments.recipe)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    transform = torchvision_transform(recipe, arguments.size)
    few = images[: max(1, min(16, arguments.batch))]  # one image at a time: the batch does not matter

    dtype = torch.bfloat16 if arguments.bf16 else torch.float32
    layout = torch.channels_last if arguments.bf16 else torch.contiguous_format

    def batched(compiled: bool = False) -> list[Tensor]:
        return make_views(images, recipe, generator, arguments.views, dtype, memory_format=layout, compiled=compiled)

    def one_by_one() -> list[Tensor]:
        return [torch.stack([transform(image) for image in few]) for _ in range(arguments.views)]

    sides: dict[str, tuple[int, Callable[[], object]]] = {
        "nearkin": (len(images), batched),
        "torchvision": (len(few), one_by_one),
    }
    if shutil.which("g++") is not None and not arguments.quick:
        sides["nearkin compiled"] = (len(images), lambda: batched(compiled=True))
    if importlib.util.find_spec("kornia") is not None:
        for cropping in ("slice", "resample"):  # image by image, or all by one grid
            whole = kornia_transform(recipe, arguments.size, cropping)

            def of_kornia(whole: torch.nn.Module = whole) -> list[Tensor]:
                floats = images.float() / 255
                return [whole(floats) for _ in range(arguments.views)]

            sides[f"kornia {cropping}"] = (len(images), of_kornia)
    times: dict[str, list[float]] = {name: [] for name in sides}
    for _, work in sides.values():  # warm up
        work()
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end or len(times["nearkin"]) < 3:
        for name, (n, work) in sides.items():
            times[name].append(seconds_of(work) / n)

    print(f"hardware     {cpu_name()}, 1 thread, torch {torch.__version__}")
    print(
        f"task         recipe {recipe.name}, {arguments.views} views per image, {arguments.size} x {arguments.size}, "
        f"batch {arguments.batch}, {'bfloat16 channels_last' if arguments.bf16 else 'float32'}, "
        f"{len(times['nearkin'])} turns"
    )
    for name, taken in times.items():
        per_view = min(taken) * 1e6 / arguments.views
        print(f"{name:<16} {1 / min(taken):9.0f} images/s per core  ({per_view:.1f} us per view)")
    for own in [name for name in sides if name.startswith("nearkin")]:
        for name in [name for name in sides if not name.startswith("nearkin")]:
            print(f"{own:<16} ratio to {name:<15} {min(times[name]) / min(times[own]):6.1f}  (times faster)")


if __name__ == "__main__":
    main()
