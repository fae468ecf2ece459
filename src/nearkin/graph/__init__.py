"""Neighbourhood graphs and what can be read off their spectrum."""

from nearkin.graph.laplacian import SpectralEmbedding, components, knn_graph

__all__ = ["SpectralEmbedding", "components", "knn_graph"]
