"""recall@k of every engine and parameter against exact search, in one run.

    python benchmarks/index_recall.py [--embeddings FILE | --vectors 20000 --dim 64] [--queries 200] [--k 10] [--metric l2]

Without a file the vectors are seeded Gaussians around 100 centres. Queries are drawn from the vectors and left out of them.
recall: nearkin.search.engines (by distance, so ties are no misses). Seconds are one turn each, on as many threads as
OMP_NUM_THREADS allows: an order of magnitude, no benchmark of the engines. milvus-lite runs in this process; a server has
other speeds, and types that it lacks (DISKANN, IVF_PQ): name it by --uri and the types by --types.
"""

from __future__ import annotations

import argparse
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import faiss
import numpy as np
from numpy.typing import NDArray
from timing import cpu_name

from nearkin.embeddings import Embeddings
from nearkin.search.engines import recall
from nearkin.search.exact import knn
from nearkin.search.faiss_index import FaissIndex
from nearkin.search.index import VectorIndex
from nearkin.search.milvus import MilvusIndex

Vectors = NDArray[np.float32]


def main() -> None:
    parser = argparse.ArgumentParser(description="Recall of approximate search, by engine and parameter.")
    parser.add_argument("--embeddings", type=Path, help="embeddings to search instead of made vectors")
    parser.add_argument("--vectors", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=64)
    parser.add_argument("--queries", type=int, default=200)
    parser.add_argument("--k", type=int, default=10)
    parser.add_argument("--metric", choices=("l2", "cosine"), default="cosine")
    parser.add_argument("--uri", help="a Milvus server, or a file ending with .db (default: a temporary one)")
    parser.add_argument("--types", default="HNSW,IVF_FLAT", help="Milvus index types (default HNSW,IVF_FLAT)")
    parser.add_argument("--engines", default="faiss,milvus")
    a = parser.parse_args()
    Z = Embeddings.load(a.embeddings).Z if a.embeddings else made(a.vectors, a.dim)
    rows = np.random.default_rng(1).permutation(len(Z))
    queries, base = Z[rows[: a.queries]], np.ascontiguousarray(Z[rows[a.queries :]])
    exact = knn(queries, base, a.k, metric=a.metric).indices
    print(f"{cpu_name()}, faiss {faiss.__version__}, {faiss.omp_get_max_threads()} thread(s)")
    print(f"{len(queries):,} queries x {len(base):,} x {base.shape[1]}, {a.metric}")
    print(f"{'engine':<8}{'kind':<18}{'parameter':<16}{'recall@' + str(a.k):>10}{'ms/query':>10}{'build s':>9}")
    with tempfile.TemporaryDirectory() as folder:
        uri = a.uri or str(Path(folder) / "recall.db")
        for engine, kind, parameter, index, built in indexes(a, base, uri):
            index.search(queries[:1], a.k)  # warm
            start = time.perf_counter()
            found = index.search(queries, a.k).ids
            each = (time.perf_counter() - start) / len(queries)
            whole = (found != "").all(axis=1)
            share = recall(queries[whole], base, found[whole].astype(np.int64), exact[whole], metric=a.metric)
            share *= float(whole.mean())
            print(f"{engine:<8}{kind:<18}{parameter:<16}{share:>10.4f}{1e3 * each:>10.2f}{built:>9.1f}", flush=True)
            index.close()


def made(n: int, dim: int) -> Vectors:
    """Gaussians around 100 centres."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(100, dim), scale=0.5).astype(np.float32)
    return np.asarray(centres[rng.integers(0, 100, n)] + rng.standard_normal((n, dim), dtype=np.float32))


def indexes(a: argparse.Namespace, base: Vectors, uri: str) -> Iterator[tuple[str, str, str, VectorIndex, float]]:
    """Engine, kind, parameter, an index that holds the base, and the seconds that took."""
    ids = [str(row) for row in range(len(base))]
    lists = 2 ** round(math.log2(math.sqrt(len(base))))  # about 39 training points each or more, as FAISS asks
    bytes_ = base.shape[1] // 8 if base.shape[1] % 8 == 0 else base.shape[1]  # one code per 8 dimensions
    if "faiss" in a.engines:
        kinds = {"Flat": [""], "HNSW32": ["efSearch=16", "efSearch=64", "efSearch=256"]}
        kinds |= {f"IVF{lists},{code}": ["nprobe=1", "nprobe=8", "nprobe=32"] for code in ("Flat", f"PQ{bytes_}")}
        for kind, parameters in kinds.items():
            index = FaissIndex(metric=a.metric, kind=kind)
            start = time.perf_counter()
            index.build(ids, base)
            index.search(base[:1], 1)  # an approximate index is made at its first search
            built = time.perf_counter() - start
            for parameter in parameters:
                index.settings = parameter
                yield "faiss", kind, parameter, index, built
    if "milvus" not in a.engines:
        return
    searches = {"HNSW": ("ef", (16, 64, 256)), "DISKANN": ("search_list", (16, 64, 256))}
    builds = {"HNSW": None, "DISKANN": {}, "IVF_PQ": {"nlist": lists, "m": bytes_, "nbits": 8}}
    for kind in a.types.split(","):
        name, values = searches.get(kind, ("nprobe", (1, 8, 32)))
        built = 0.0
        for value in values:
            milvus = MilvusIndex(
                uri,
                name=f"recall_{kind}",
                metric=a.metric,
                kind=kind,
                build_params=builds.get(kind, {"nlist": lists}),
                search_params={name: max(value, a.k) if name != "nprobe" else value},
            )
            if value == values[0]:
                start = time.perf_counter()
                milvus.build(ids, base)
                built = time.perf_counter() - start
            yield "milvus", kind, f"{name}={value}", milvus, built


if __name__ == "__main__":
    main()
