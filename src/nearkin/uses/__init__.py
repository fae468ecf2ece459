"""What a study does with its finished embeddings: search, hubs, factors, clusters, near-duplicates, anomalies.

Everything reads embeddings and images; the one exception is that runs embed out-of-distribution images, which no run has
seen. Each part is saved under uses/ and found again when the study is continued.
"""

from nearkin.uses.summary import run_uses, uses_thumbnails

__all__ = ["run_uses", "uses_thumbnails"]
