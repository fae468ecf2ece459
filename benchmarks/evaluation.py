"""Evaluation of one embedding, each step against the bare library call, and the whole in seconds; all in one run.

    python benchmarks/evaluation.py [--n 60000] [--dim 512] [--map-images 10000]

The embedding is ten Gaussian classes with a decaying spectrum, five sixths train (a tenth of it val), one sixth test.
    kNN          nearkin.search.exact.knn of test among train, k = 200       faiss.knn on the same unit vectors
    linear       logistic regression, penalty chosen among six            scikit-learn, one penalty: what nearkin chose
    k-means      4 starts on the test images                              scikit-learn's KMeans, 4 starts
    t-SNE        PCA to 50, map, trustworthiness of map and PCA           openTSNE on the same 50 components
Then, in seconds alone: the whole evaluation, the same with maps, and a map of all images fitted on some of them.
"""

from __future__ import annotations

from collections.abc import Callable

import faiss
import numpy as np
from numpy.typing import NDArray
from openTSNE import TSNE
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from timing import fastest, parser, seconds_of, use_threads

from nearkin.clusters.kmeans import STARTS, raw_kmeans
from nearkin.embeddings import Embeddings
from nearkin.evaluate.linear import linear_probe
from nearkin.maps.maps import draw_maps, draw_of_part
from nearkin.search.exact import knn, unit_rows
from nearkin.study.protocol import evaluate
from nearkin.vectors import standardize

CLASSES, K = 10, 200


def world(n: int, dim: int, seed: int = 0) -> Embeddings:
    """n vectors of ten overlapping classes with splits."""
    rng = np.random.default_rng(seed)
    spectrum = (np.arange(1, dim + 1) ** -0.5).astype(np.float32)
    labels = np.arange(n) % CLASSES
    centres = rng.standard_normal((CLASSES, dim), dtype=np.float32)
    Z = (0.5 * centres[labels] + rng.standard_normal((n, dim), dtype=np.float32)) * spectrum
    part = rng.permutation(n)
    split = np.where(part < n // 6, "test", np.where(part < n // 6 + n // 12, "val", "train"))
    names = tuple(f"class {k}" for k in range(CLASSES))
    return Embeddings(Z=Z, ids=np.arange(n).astype(str), labels=labels, split=split, classes=names)


def main() -> None:
    options = parser("Evaluation of an embedding against the bare library calls.")
    options.add_argument("--n", type=int, default=60_000)
    options.add_argument("--dim", type=int, default=512)
    options.add_argument("--map-images", type=int, default=10_000)
    a = options.parse_args()
    if a.quick:
        a.n, a.dim, a.map_images, a.turns = 3000, 16, 200, 1
    use_threads(a.threads)
    made = world(a.n, a.dim)
    parts = [made.part(name) for name in ("train", "val", "test")]
    train, val, test = ((part.Z, np.asarray(part.labels)) for part in parts)
    k = min(K, len(train[0]))
    units = [unit_rows(z) for z in (test[0], train[0])]
    some = test[0][: a.map_images]
    components = PCA(min(50, a.dim), svd_solver="randomized", random_state=0).fit_transform(some)
    scaled, y = standardize(train[0])[0], train[1]
    chosen = linear_probe(train, val, test, CLASSES).chosen["C"]
    sides: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        "kNN": (lambda: knn(test[0], train[0], k), lambda: faiss.knn(units[0], units[1], k)),
        "linear": (
            lambda: linear_probe(train, val, test, CLASSES),
            lambda: LogisticRegression(C=chosen, max_iter=200).fit(scaled, y),
        ),
        "k-means": (
            lambda: raw_kmeans(test[0], CLASSES, seed=0),
            lambda: KMeans(CLASSES, n_init=STARTS, random_state=0).fit(test[0]),
        ),
        "t-SNE": (lambda: draw_maps(some, None, n_jobs=a.threads), lambda: bare_tsne(components, a.threads)),
    }
    print(f"task       {a.n:,} x {a.dim}: {len(train[0]):,} train, {len(val[0]):,} val, {len(test[0]):,} test")
    print(f"{'':<10} {'nearkin s':>10} {'bare s':>10} {'ratio':>7}")
    for name, (ours, bare) in sides.items():
        best = fastest({"ours": ours, "bare": bare}, a.turns if name != "t-SNE" else 1)
        print(f"{name:<10} {best['ours']:10.2f} {best['bare']:10.2f} {best['ours'] / best['bare']:7.2f}")
    whole = seconds_of(lambda: evaluate(made, maps=False))
    maps = seconds_of(lambda: evaluate(made, maps=True, max_map_images=a.map_images))
    print(f"whole evaluation               {whole:8.1f} s, ratio to 120 s {whole / 120:.2f}  (below 1: met)")
    print(f"with maps of {len(some):,} images      {maps:8.1f} s, ratio to 240 s {maps / 240:.2f}")
    rows = np.sort(np.random.default_rng(0).permutation(len(made))[: a.map_images])
    placed = seconds_of(lambda: draw_of_part(made.Z, made.labels, rows, kind="tsne"))
    print(f"t-SNE map of {len(made):,} images   {placed:8.1f} s, fitted on {len(rows):,} of them, the others placed")


def bare_tsne(components: NDArray[np.float64], threads: int) -> object:
    """openTSNE as its documentation calls it."""
    perplexity = min(30.0, (len(components) - 1) / 4)
    return TSNE(perplexity=perplexity, initialization="pca", random_state=0, n_jobs=threads).fit(components)


if __name__ == "__main__":
    main()
