"""Indexes of vectors that stay: build, upsert by id, delete, filter by metadata, search; FAISS in memory, Milvus as engine.

:class:`FaissIndex` and :class:`MilvusIndex` are :class:`VectorIndex` es. :func:`searcher` is what the commands' --index
switches: it gives a function like :func:`nearkin.neighbors.knn` that searches by the engine named.
"""

from nearkin.index.base import Hits, VectorIndex
from nearkin.index.flat import FaissIndex
from nearkin.index.milvus import MilvusIndex
from nearkin.index.recall import recall
from nearkin.index.searcher import Searcher, searcher

__all__ = ["FaissIndex", "Hits", "MilvusIndex", "Searcher", "VectorIndex", "recall", "searcher"]
