"""Audit an embedding that anybody made: .parquet, .npy or .npz.

Is it collapsed, what can be read from it, does it have hubs? Labels are used where the file has them.
Run: python examples/audit.py vectors.npz
Without a file, an embedding with a planted flaw (half of its dimensions dead) is made and audited.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from nearkin import Embeddings
from nearkin.retrieval.hubs import hubness
from nearkin.study.protocol import evaluate, with_splits


def flawed() -> Embeddings:
    """Four classes in 16 dimensions, 16 more that never move."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 800)
    Z = np.c_[2.0 * np.eye(4, 16)[y] + rng.normal(size=(800, 16)), np.zeros((800, 16))]
    return Embeddings.from_numpy(Z, labels=np.array(["cat", "dog", "fox", "owl"])[y])


def main() -> None:
    embeddings = Embeddings.load(Path(sys.argv[1])) if len(sys.argv) > 1 else flawed()
    embeddings, note = with_splits(embeddings, seed=0)
    if note:
        print(f"note: {note}")
    evaluation, _ = evaluate(embeddings, maps=False)
    health = evaluation.health
    print(f"{len(embeddings):,} vectors of {evaluation.dim} dimensions; effective rank {health.rankme:.1f}")
    print(f"dead dimensions: {100 * health.dead_share:.0f} %")
    for name, score in (("linear", evaluation.linear), ("knn", evaluation.knn)):
        if score:
            low, high = score.interval
            print(
                f"{name} probe: {100 * score.accuracy:.1f} % [{100 * low:.1f}, {100 * high:.1f}] on {score.n} test vectors"
            )
    hubs = hubness(embeddings, k=10)
    print(f"most popular vector: among the 10 nearest of {int(hubs.k_occurrence.max())} others (10 on average)")


if __name__ == "__main__":
    main()
