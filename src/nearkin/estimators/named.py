"""One estimator per method. The methods' pages in docs/methods explain the parameters; the sources are in the methods."""

from __future__ import annotations

from nearkin.estimators.base import ImageEmbedding


class VICReg(ImageEmbedding, method="vicreg"):
    """Variance-invariance-covariance regularisation on two views (Bardes, Ponce, LeCun 2022)."""


class NGN(ImageEmbedding, method="ngn"):
    """VICReg whose positives are nearest neighbours instead of augmentations.

    neighbors_from: "vicreg" (one is trained first, with the same settings), "pixels", a run folder, or "labels" (needs y).
    neighbors_same_class: only neighbours of the image's class (needs y).
    """


class LatentOptimization(ImageEmbedding, method="lo"):
    """A code per image and a decoder, no encoder; ``transform`` optimises codes at test time, unless layer="distilled"."""


class FreeCodes(ImageEmbedding, method="free-codes"):
    """A code per image, VICReg's terms on neighbours, no encoder. neighbors_from as in NGN."""


class BarlowTwins(ImageEmbedding, method="barlow"):
    """Cross-correlation of two views towards the identity (Zbontar et al. 2021)."""


class SimCLR(ImageEmbedding, method="simclr"):
    """Contrast with the rest of the batch (Chen et al. 2020)."""


class BYOL(ImageEmbedding, method="byol"):
    """Predict a moving average of oneself (Grill et al. 2020)."""


class SimSiam(ImageEmbedding, method="simsiam"):
    """Predict oneself, the gradient stopped (Chen, He 2021)."""


class WMSE(ImageEmbedding, method="wmse"):
    """Whitened positives (Ermolov et al. 2021)."""


class LeJEPA(ImageEmbedding, method="lejepa"):
    """Prediction and SIGReg (Balestriero, LeCun 2025)."""


class Supervised(ImageEmbedding, method="supervised"):
    """The same encoder trained with labels, which ``fit`` needs as y: a ceiling."""


class RandomEncoder(ImageEmbedding, method="random-init"):
    """The untrained encoder: a baseline."""


class PixelPCA(ImageEmbedding, method="pca"):
    """Principal components of the pixels: a baseline."""


class RawPixels(ImageEmbedding, method="raw-pixels"):
    """The pixels in [0, 1]: a baseline."""


class HOG(ImageEmbedding, method="hog"):
    """Gradient and colour histograms: a baseline. Needs the extra nearkin[baselines]."""
