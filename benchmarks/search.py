"""Exact nearest neighbours: nearkin against a bare faiss call and scikit-learn's brute force, all in one run.

    python benchmarks/search.py [--queries 10000] [--base 50000] [--dim 1024] [--k 10] [--metric l2] [--threads 1]

nearkin.search.exact.knn checks its input, centres it, searches by faiss and returns true distances; the bare call is
faiss.knn on the same arrays (for cosine: on unit vectors made beforehand), squared distances. scikit-learn is measured on
--subset queries and counted per query. Turns alternate, and the fastest of each side counts. The vectors are seeded
Gaussians around ten centres.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import faiss
import numpy as np
import sklearn
from sklearn.neighbors import NearestNeighbors
from threadpoolctl import threadpool_limits
from timing import cpu_name, seconds_of

from nearkin.search.exact import farthest, knn, unit_rows


def main() -> None:
    parser = argparse.ArgumentParser(description="Exact neighbours: nearkin, bare faiss, scikit-learn.")
    parser.add_argument("--queries", type=int, default=10_000)
    parser.add_argument("--base", type=int, default=50_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--metric", choices=("l2", "cosine"), default="l2")
    parser.add_argument("--subset", type=int, default=1000, help="queries for scikit-learn (default 1000)")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="tiny sizes, to see that it runs")
    a = parser.parse_args()
    if a.quick:
        a.queries, a.base, a.dim, a.subset, a.turns = 200, 1000, 16, 100, 1
    with threadpool_limits(a.threads):  # OpenMP and BLAS of all sides
        measure(a)


def measure(a: argparse.Namespace) -> None:
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, a.dim), scale=0.5).astype(np.float32)
    base, queries = (
        centres[rng.integers(0, 10, n)] + rng.standard_normal((n, a.dim), dtype=np.float32) for n in (a.base, a.queries)
    )
    plain_base, plain_queries = (unit_rows(base), unit_rows(queries)) if a.metric == "cosine" else (base, queries)
    few = queries[: a.subset]
    theirs = NearestNeighbors(
        n_neighbors=a.k, algorithm="brute", metric=a.metric if a.metric == "cosine" else "euclidean"
    )
    theirs.fit(base)
    sides: dict[str, tuple[int, Callable[[], object]]] = {
        "nearkin": (len(queries), lambda: knn(queries, base, a.k, metric=a.metric)),
        "nearkin, farthest": (len(queries), lambda: farthest(queries, base, a.k, metric=a.metric)),
        "bare faiss": (len(queries), lambda: faiss.knn(plain_queries, plain_base, a.k)),
        "scikit-learn": (len(few), lambda: theirs.kneighbors(few)),
    }
    best = dict.fromkeys(sides, float("inf"))
    for _ in range(a.turns):
        for name, (n, work) in sides.items():
            best[name] = min(best[name], seconds_of(work) / n)
    # A speed is worth something only where the answers agree.
    ours, exact = knn(few, base, a.k, metric=a.metric), theirs.kneighbors(few)[1]
    same = np.mean([len(np.intersect1d(x, y)) for x, y in zip(ours.indices, exact, strict=True)]) / a.k

    print(
        f"hardware   {cpu_name()}, {a.threads} thread(s), faiss {faiss.__version__}, scikit-learn {sklearn.__version__}"
    )
    print(f"task       {a.queries:,} queries x {a.base:,} x {a.dim}, k = {a.k}, {a.metric}, {a.turns} turns")
    for name, each in best.items():
        print(f"{name:<18} {each * a.queries:8.2f} s for all queries  ({each * 1e3:.3f} ms each)")
    print(f"ratio to bare faiss     {best['nearkin'] / best['bare faiss']:6.2f}  (1 = no overhead)")
    print(f"ratio to scikit-learn   {best['scikit-learn'] / best['nearkin']:6.2f}  (times faster)")
    print(f"neighbours shared with scikit-learn: {100 * same:.2f} %")


if __name__ == "__main__":
    main()
