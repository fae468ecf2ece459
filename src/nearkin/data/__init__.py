"""Data: a name or a path -> images as uint8 (N, 3, S, S) with ids and optional labels."""

from nearkin.data.describe import describe, remarks
from nearkin.data.imageset import Dataset, ImageSet, Skipped, Splits
from nearkin.data.load import load, names
from nearkin.data.splits import check_trainable, split

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
