"""Images per second and core of batched views against torchvision, both in one run.

    python benchmarks/views.py [--recipe reference] [--batch 256] [--seconds 3]

torchvision draws one set of parameters per call, so views that differ image by image take one call per image and view:
that is what a data loader's worker does. Both sides start from uint8 tensors in memory and end at normalised float
tensors; both run on one thread; turns alternate, and the fastest of each side counts.
"""

from __future__ import annotations

import argparse
import time

import torch
from timing import cpu_name, seconds_of
from torch import Tensor
from torchvision.transforms import v2

from nearkin.views import RECIPES, Recipe, get_recipe, make_views


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


def main() -> None:
    parser = argparse.ArgumentParser(description="Views: batched against torchvision per image, on one core.")
    parser.add_argument("--recipe", choices=list(RECIPES), default="reference")
    parser.add_argument("--batch", type=int, default=256, help="images per batch (default 256)")
    parser.add_argument("--size", type=int, default=32, help="side of the images (default 32)")
    parser.add_argument("--views", type=int, default=2, help="views per image (default 2)")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long to measure, about (default 3)")
    parser.add_argument("--bf16", action="store_true", help="bfloat16 channels_last output, as in training")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(0)
    recipe = get_recipe(arguments.recipe)
    generator = torch.Generator().manual_seed(0)
    shape = (arguments.batch, 3, arguments.size, arguments.size)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    transform = torchvision_transform(recipe, arguments.size)
    few = images[: max(1, min(16, arguments.batch))]  # one image at a time: the batch does not matter

    def batched() -> list[Tensor]:
        if arguments.bf16:
            return make_views(
                images, recipe, generator, arguments.views, torch.bfloat16, memory_format=torch.channels_last
            )
        return make_views(images, recipe, generator, arguments.views)

    def one_by_one() -> list[Tensor]:
        return [torch.stack([transform(image) for image in few]) for _ in range(arguments.views)]

    batched(), one_by_one()  # warm up
    ours: list[float] = []
    theirs: list[float] = []
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end or len(ours) < 3:
        ours.append(seconds_of(batched) / len(images))
        theirs.append(seconds_of(one_by_one) / len(few))

    print(f"hardware     {cpu_name()}, 1 thread, torch {torch.__version__}")
    print(
        f"task         recipe {recipe.name}, {arguments.views} views per image, {arguments.size} x {arguments.size}, "
        f"batch {arguments.batch}, {'bfloat16 channels_last' if arguments.bf16 else 'float32'}, {len(ours)} turns"
    )
    for name, times in (("nearkin", ours), ("torchvision", theirs)):
        per_view = min(times) * 1e6 / arguments.views
        print(f"{name:<12} {1 / min(times):9.0f} images/s per core  ({per_view:.1f} us per view)")
    print(f"ratio        {min(theirs) / min(ours):9.1f}")


if __name__ == "__main__":
    main()
