"""Seconds of a search for near-duplicates against the number of images, with the fitted exponent.

    python benchmarks/duplicates.py [--sizes 2000,4000,8000,16000] [--dim 256] [--turned]

Synthetic textures, of which 2 % have a planted copy; a synthetic embedding (random vectors, copies near their source),
so that the cost does not depend on a model. Reported: CPU and wall-clock seconds of the whole search, of the exact
neighbours alone, and of the rest (alignment of pixels, calibration); recall and mistakes on the planted copies. Exact
neighbours grow with N^2, everything else with N.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from timing import exponent

from nearkin.duplicates.find import N_NEIGHBORS, near_duplicates
from nearkin.duplicates.planted import plant
from nearkin.search.exact import knn

COPIES = 0.02


def world(n: int, dim: int, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.float32], set[tuple[int, int]]]:
    """n images (the last 2 % copies of others), their vectors, and the pairs that are to be found."""
    rng = np.random.default_rng(seed)
    copies = max(1, round(COPIES * n))
    noise = rng.normal(size=(n - copies, 32, 32)).astype(np.float32)
    grey = 250 * gaussian_filter(noise, (0, 1.6, 1.6)) + 600 * gaussian_filter(noise, (0, 4.5, 4.5))
    images = np.repeat(np.clip(128 + grey, 0, 255).astype(np.uint8)[:, None], 3, axis=1)
    planted = plant(images, seed, count=copies)
    Z = rng.normal(size=(n - copies, dim)).astype(np.float32)
    near = Z[planted.source_row] + 0.2 * rng.normal(size=(copies, dim)).astype(np.float32)
    truth = {(int(source), n - copies + i) for i, source in enumerate(planted.source_row)}
    return np.concatenate([images, planted.images]), np.concatenate([Z, near]), truth


def seconds(work: Callable[[], object]) -> tuple[float, float]:
    """CPU and wall-clock seconds."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return time.process_time() - cpu, time.perf_counter() - wall


def main() -> None:
    parser = argparse.ArgumentParser(description="Near-duplicates: seconds against the number of images.")
    parser.add_argument("--sizes", default="2000,4000,8000,16000", help="numbers of images, with commas")
    parser.add_argument("--dim", type=int, default=256, help="dimensions of the vectors (default 256)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--turned", action="store_true", help="also search for turned and inverted copies")
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    arguments = parser.parse_args()
    if arguments.quick:
        arguments.sizes, arguments.dim = "600,1200", 16
    sizes = [int(text) for text in arguments.sizes.split(",")]

    print(
        f"{platform.machine()}, {os.cpu_count()} cores, {arguments.dim} dimensions, k = {N_NEIGHBORS}, 32 x 32 pixels"
    )
    print(
        f"{'images':>8} {'cpu s':>8} {'wall s':>8} {'neighbours':>11} {'rest':>7} {'us/image':>9} {'recall':>7} {'wrong':>6}"
    )
    columns: dict[str, list[float]] = {"cpu": [], "neighbours": [], "rest": []}
    for n in sizes:
        images, Z, truth = world(n, arguments.dim, arguments.seed)
        neighbours, _ = seconds(lambda Z=Z: knn(Z, Z, 2 * N_NEIGHBORS, exclude_self=True))  # type: ignore[misc]
        found = []
        cpu, wall = seconds(
            lambda Z=Z, images=images, found=found: found.append(near_duplicates(Z, images, turned=arguments.turned))
        )  # type: ignore[misc]
        got = set(zip(found[0].pairs.a.tolist(), found[0].pairs.b.tolist(), strict=True))
        rest = max(cpu - neighbours, 1e-3)
        for name, value in (("cpu", cpu), ("neighbours", neighbours), ("rest", rest)):
            columns[name].append(value)
        print(
            f"{n:8,} {cpu:8.2f} {wall:8.2f} {neighbours:11.2f} {rest:7.2f} {1e6 * cpu / n:9.0f} "
            f"{len(got & truth) / len(truth):7.3f} {len(got - truth):6}"
        )
    if len(sizes) > 1:
        print("exponent " + ", ".join(f"{name} {exponent(sizes, values):.2f}" for name, values in columns.items()))


if __name__ == "__main__":
    main()
