"""Audit an embedding that anybody made: .parquet, .npy or .npz.

Is it collapsed, what can be read from it, does it have hubs, are there clusters in it? Labels are used where the file has them.
Run: python examples/audit.py vectors.npz
Without a file, an embedding with a planted flaw (half of its dimensions dead) is made and audited.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from nearkin import Embeddings, anomaly_scores, cluster, evaluate_embeddings, hubs, near_duplicates, nearest


def flawed() -> Embeddings:
    """Four classes in 16 dimensions, 16 more that never move."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 800)
    Z = np.c_[2.0 * np.eye(4, 16)[y] + rng.normal(size=(800, 16)), np.zeros((800, 16))]
    return Embeddings.from_numpy(Z, labels=np.array(["cat", "dog", "fox", "owl"])[y])


def main() -> None:
    embeddings = Embeddings.load(Path(sys.argv[1])) if len(sys.argv) > 1 else flawed()
    embeddings, note = embeddings.with_splits()
    if note:
        print(f"note: {note}")

    evaluation = evaluate_embeddings(embeddings)
    health = evaluation.health
    print(f"{len(embeddings):,} vectors of {evaluation.dim} dimensions; effective rank {health.rankme:.1f}")
    print(f"dead dimensions: {100 * health.dead_share:.0f} %")
    for name, score in (("linear", evaluation.linear), ("kNN", evaluation.knn)):
        if score:
            low, high = (100 * bound for bound in score.interval)
            print(f"{name} probe: {100 * score.accuracy:.1f} % [{low:.1f}, {high:.1f}] on {score.n} test vectors")

    hubness = hubs(embeddings)
    hub = int(hubness.k_occurrence.argmax())
    print(
        f"hubs: skewness {hubness.nearest.skewness:.2f}; {100 * hubness.nearest.antihubs:.1f} % are nobody's neighbour"
    )
    print(
        f"most popular: '{embeddings.ids[hub]}', among the 10 nearest of {hubness.nearest.largest} others (10 on average)"
    )
    print("its own nearest:", ", ".join(image.id for image in nearest(embeddings, hub).answers[0].nearest))

    twins = near_duplicates(embeddings, threshold=1e-4)  # with the images too, pairs would be compared on their pixels
    print(f"vectors that another one nearly equals: {len(twins.rows):,}")

    odd = anomaly_scores(embeddings).argsort()[::-1][:5]
    print("least like the others:", ", ".join(embeddings.ids[odd]))

    clustering = cluster(embeddings, n_clusters="auto")
    print(f"clusters: {clustering.scores.k} have the largest silhouette, {clustering.scores.silhouette or 0:.2f}")


if __name__ == "__main__":
    main()
