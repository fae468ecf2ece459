"""Embeddings: vectors with ids, labels and splits. Everything after training reads these, never a model."""

from nearkin.embeddings.embeddings import PARTS, Embeddings, as_embeddings, rows_of

__all__ = ["PARTS", "Embeddings", "as_embeddings", "rows_of"]
