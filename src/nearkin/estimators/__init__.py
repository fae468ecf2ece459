"""The methods as scikit-learn estimators: constructors only store, ``fit`` learns, ``transform`` embeds."""

from nearkin.estimators.base import ImageEmbedding
from nearkin.estimators.images import InputError, check_images
from nearkin.estimators.laplacian import LaplacianEigenmaps
from nearkin.estimators.named import (
    BYOL,
    HOG,
    NGN,
    WMSE,
    BarlowTwins,
    FreeCodes,
    LatentOptimization,
    LeJEPA,
    PixelPCA,
    RandomEncoder,
    RawPixels,
    SimCLR,
    SimSiam,
    Supervised,
    VICReg,
)

__all__ = [
    "BYOL",
    "HOG",
    "NGN",
    "WMSE",
    "BarlowTwins",
    "FreeCodes",
    "ImageEmbedding",
    "InputError",
    "LaplacianEigenmaps",
    "LatentOptimization",
    "LeJEPA",
    "PixelPCA",
    "RandomEncoder",
    "RawPixels",
    "SimCLR",
    "SimSiam",
    "Supervised",
    "VICReg",
    "check_images",
]
