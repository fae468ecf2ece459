"""t-SNE's repulsion on maps of growing side: interpolation against Barnes and Hut, time and error, all in one run.

    python benchmarks/gradients.py [--n 10000] [--sides 10,40,70,100,165]

Points lie evenly in a square, much as on a finished map. The error is that of the repulsive forces, relative to the sum over
all pairs (root mean square). nearkin.maps.tsne takes interpolation while the side is small for N, and Barnes and Hut
with its angle after that; openTSNE alone takes interpolation from 10,000 points on, whatever the side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from openTSNE import _tsne
from openTSNE.quad_tree import QuadTree
from timing import fastest, parser, use_threads

from nearkin.maps.tsne import THETA


def all_pairs(Y: NDArray[np.float64]) -> NDArray[np.float64]:
    """The repulsive part of the gradient (N, 2), by all pairs."""
    force, total = np.zeros_like(Y), 0.0
    for start in range(0, len(Y), 500):
        apart = Y[start : start + 500, None] - Y[None]
        q = 1 / (1 + np.square(apart).sum(axis=2))
        total += q.sum() - len(q)
        force[start : start + 500] = (apart * np.square(q)[..., None]).sum(axis=1)
    return force / total


def interpolated(Y: NDArray[np.float64]) -> NDArray[np.float64]:
    found = np.zeros_like(Y)
    _tsne.estimate_negative_gradient_fft_2d(
        Y, found, n_interpolation_points=3, min_num_intervals=50, ints_in_interval=1, dof=1
    )
    return found


def barnes_hut(Y: NDArray[np.float64], theta: float, threads: int) -> NDArray[np.float64]:
    found = np.zeros_like(Y)
    _tsne.estimate_negative_gradient_bh(
        QuadTree(Y), Y, found, theta=theta, dof=1, num_threads=threads, pairwise_normalization=True
    )
    return found


def main() -> None:
    options = parser("t-SNE's repulsion: time and error of two approximations.")
    options.add_argument("--n", type=int, default=10_000)
    options.add_argument("--sides", default="10,40,70,100,165")
    a = options.parse_args()
    if a.quick:
        a.n, a.sides, a.turns = 1000, "10,40", 1
    use_threads(a.threads)
    print(f"task       {a.n:,} points; ms (error); ratio: interpolation's time to that of angle {THETA}")
    print(f"{'side':>6} {'interpolation':>18} {'angle 0.5':>18} {f'angle {THETA}':>18} {'ratio':>7}")
    for side in (float(text) for text in a.sides.split(",")):
        Y = np.random.default_rng(0).uniform(-side / 2, side / 2, (a.n, 2))
        works: dict[str, Callable[[], NDArray[np.float64]]] = {
            "interpolation": lambda Y=Y: interpolated(Y),  # type: ignore[misc]
            "angle 0.5": lambda Y=Y: barnes_hut(Y, 0.5, a.threads),  # type: ignore[misc]
            "chosen": lambda Y=Y: barnes_hut(Y, THETA, a.threads),  # type: ignore[misc]
        }
        best, exact = fastest(works, a.turns), all_pairs(Y)
        cells = []
        for name, work in works.items():
            # Its sign is a matter of convention.
            error = min(float(np.linalg.norm(work() - sign * exact)) for sign in (1, -1)) / np.linalg.norm(exact)
            cells.append(f"{1e3 * best[name]:9.1f} ({100 * error:.1f} %)")
        print(
            f"{side:6.0f} "
            + " ".join(f"{cell:>18}" for cell in cells)
            + f" {best['interpolation'] / best['chosen']:7.2f}"
        )


if __name__ == "__main__":
    main()
