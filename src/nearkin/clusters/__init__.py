"""Clusters of an embedding: found, judged, described, printed."""
