"""How cost grows with images (N), dimensions (D) and neighbours or clusters (k): fitted exponents, all in one run.

    python benchmarks/scaling.py [--n 2000,4000,8000,16000] [--d 128,256,512,1024] [--k 5,10,20,40]

One number changes at a time, the others stay at the middle of their list. An exponent is the slope of log(seconds) over
log(size), of the fastest turn. What to expect: exact neighbours N^2 D (less in D where a short list serves), everything else N.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from evaluation import CLASSES, world
from timing import exponent, fastest, parser, use_threads

from duplicates import world as textures
from nearkin.clusters.kmeans import raw_kmeans
from nearkin.duplicates.find import near_duplicates
from nearkin.evaluate.linear import linear_probe
from nearkin.search.exact import knn


def neighbours(n: int, d: int, k: int) -> Callable[[], object]:
    Z = world(n, d).Z
    return lambda: knn(Z, Z, k, exclude_self=True)


def probe(n: int, d: int, k: int) -> Callable[[], object]:
    parts = [world(n, d).part(name) for name in ("train", "val", "test")]
    train, val, test = ((part.Z, np.asarray(part.labels)) for part in parts)
    return lambda: linear_probe(train, val, test, CLASSES)


def duplicates(n: int, d: int, k: int) -> Callable[[], object]:
    images, Z, _ = textures(n, d, 0)
    return lambda: near_duplicates(Z, images, n_neighbors=k, turned=False)


def clusters(n: int, d: int, k: int) -> Callable[[], object]:
    Z = world(n, d).Z
    return lambda: raw_kmeans(Z, k, seed=0)


STEPS: dict[str, tuple[Callable[[int, int, int], Callable[[], object]], str]] = {
    "kNN": (neighbours, "NDk"),
    "probe": (probe, "ND"),
    "duplicates": (duplicates, "NDk"),
    "clusters": (clusters, "NDk"),
}


def main() -> None:
    options = parser("Fitted exponents of the cost over N, D and k.")
    options.add_argument("--n", default="2000,4000,8000,16000")
    options.add_argument("--d", default="128,256,512,1024")
    options.add_argument("--k", default="5,10,20,40")
    a = options.parse_args()
    if a.quick:
        a.n, a.d, a.k, a.turns = "300,600", "8,16", "3,6", 1
    use_threads(a.threads)
    sizes = {name: [int(part) for part in text.split(",")] for name, text in (("N", a.n), ("D", a.d), ("k", a.k))}
    middle = {name: values[(len(values) - 1) // 2] for name, values in sizes.items()}
    print(f"task       at N = {middle['N']:,}, D = {middle['D']}, k = {middle['k']}; {a.turns} turn(s)")
    print(f"{'':<12} {'over':>5} {'exponent':>9}  seconds")
    for name, (make, axes) in STEPS.items():
        for axis in axes:
            taken = []
            for size in sizes[axis]:
                at = middle | {axis: size}
                taken.append(fastest({name: make(at["N"], at["D"], at["k"])}, a.turns)[name])
            listed = " ".join(f"{size:,}: {seconds:.3g}" for size, seconds in zip(sizes[axis], taken, strict=True))
            print(f"{name:<12} {axis:>5} {exponent(sizes[axis], taken):9.2f}  {listed}")


if __name__ == "__main__":
    main()
