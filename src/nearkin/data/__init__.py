"""Data: a name or a path -> images as uint8 (N, 3, S, S) with ids and optional labels."""

from nearkin.data.decode import ReadOptions
from nearkin.data.imageset import Dataset, ImageSet, LeftOut, Skipped, Splits, check_trainable, split
from nearkin.data.sources import describe, load, names, remarks

__all__ = [
    "Dataset",
    "ImageSet",
    "LeftOut",
    "ReadOptions",
    "Skipped",
    "Splits",
    "check_trainable",
    "describe",
    "load",
    "names",
    "remarks",
    "split",
]
