"""Data: a name or a path -> images as uint8 (N, 3, S, S) with ids and optional labels."""

from nearkin.data.imageset import Dataset, ImageSet, Skipped, Splits, check_trainable, split
from nearkin.data.sources import describe, load, names, remarks

__all__ = [
    "Dataset",
    "ImageSet",
    "Skipped",
    "Splits",
    "check_trainable",
    "describe",
    "load",
    "names",
    "remarks",
    "split",
]
