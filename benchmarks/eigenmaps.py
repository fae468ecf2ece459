"""Laplacian eigenmaps: graph and eigenvectors over N, and Lanczos against other solvers, all in one run.

    python benchmarks/eigenmaps.py [EMBEDDING] [--sizes 10000,50000] [--compare 3000] [--components 64] [--k 15]

With an embedding file its first rows are the points; without one, seeded Gaussians around 50 centres, of which neighbour
graphs are as badly conditioned as of real features or worse. Lanczos is nearkin's own solver; the others get the same graph of --compare points:
shift-invert (scipy's eigsh with sigma just above the largest eigenvalue, a sparse factorisation) and LOBPCG (scipy's).
Where eigenvalues disagree by more than 1e-3 the solver is marked: its time is then worth nothing.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from timing import exponent, fastest, parser, seconds_of, use_threads

from nearkin.embeddings import Embeddings
from nearkin.methods.laplacian import SpectralEmbedding, knn_graph, scaled, smallest


def points(path: Path | None, n: int, dim: int) -> NDArray[np.float32]:
    """float32 (n, dim) from a file, or made."""
    rng = np.random.default_rng(0)
    if path is not None:
        found = Embeddings.load(path).Z
        return np.ascontiguousarray(found[rng.permutation(len(found))[:n]])
    centres = rng.normal(size=(50, dim)).astype(np.float32)
    return centres[rng.integers(0, 50, n)] + rng.standard_normal((n, dim), dtype=np.float32)


def solvers(Z: NDArray[np.float32], count: int, k: int) -> dict[str, Callable[[], NDArray[np.float64]]]:
    """Each returns the ``count`` largest eigenvalues of the scaled graph but the first, descending."""
    graph = knn_graph(Z, k)[0]
    start = np.random.default_rng(0).normal(size=(len(Z), count + 1))

    def lanczos() -> NDArray[np.float64]:
        return 1 - smallest(graph, count + 1, seed=0)[0][1:]

    def shift_invert() -> NDArray[np.float64]:
        mu = sparse.linalg.eigsh(
            scaled(graph)[0].tocsc(), k=count + 1, sigma=1.0 + 1e-5, which="LM", v0=start[:, 0], tol=1e-6
        )[0]
        return np.sort(mu)[::-1][1:]

    def lobpcg() -> NDArray[np.float64]:
        mu = sparse.linalg.lobpcg(scaled(graph)[0], start, largest=True, tol=1e-4, maxiter=500)[0]
        return np.sort(mu)[::-1][1:]

    return {"Lanczos": lanczos, "shift-invert": shift_invert, "LOBPCG": lobpcg}


def main() -> None:
    options = parser("Laplacian eigenmaps: time over N, and solvers.")
    options.add_argument("embedding", type=Path, nargs="?", default=None)
    options.add_argument("--sizes", default="10000,50000")
    options.add_argument("--compare", type=int, default=3000)
    options.add_argument("--dim", type=int, default=512, help="of the made points")
    options.add_argument("--components", type=int, default=64)
    options.add_argument("--k", type=int, default=15)
    a = options.parse_args()
    sizes = [300, 600] if a.quick else [int(n) for n in a.sizes.split(",")]
    compare, count, turns = (200, 5, 1) if a.quick else (a.compare, a.components, a.turns)
    use_threads(a.threads)
    print(f"task       {count} eigenvectors, k = {a.k}, {turns} turns of each solver on {compare:,} points")
    works = solvers(points(a.embedding, compare, a.dim), count, a.k)
    exact = works["Lanczos"]()
    agree = {name: float(np.abs(work() - exact).max()) < 1e-3 for name, work in works.items()}
    best = fastest(works, turns)
    for name, seconds in best.items():
        ratio = seconds / best["Lanczos"]
        print(f"{name:<14} {seconds:8.2f} s   ratio {ratio:6.2f}{'' if agree[name] else '   other eigenvalues'}")
    totals = []
    for n in sizes:
        Z = points(a.embedding, n, a.dim)
        graph = seconds_of(partial(knn_graph, Z, a.k))
        start = time.perf_counter()
        found = SpectralEmbedding.fit(Z, count, k=a.k)
        totals.append(time.perf_counter() - start)
        print(
            f"{len(Z):>8,} points: graph {graph:6.2f} s, graph and eigenvectors {totals[-1]:7.2f} s, "
            f"{found.n_components} component(s)"
        )
    if len(sizes) > 1:
        print(f"exponent over N: {exponent(sizes, totals):.2f}")


if __name__ == "__main__":
    main()
