"""The methods as scikit-learn estimators: constructors only store, ``fit`` learns, ``transform`` embeds. No algorithm is here.

An estimator is a dataclass with keyword-only fields: its constructor, which only stores, is written by the dataclass, so that
scikit-learn, editors and type checkers see every parameter with its type and default.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from nearkin.data import ImageSet, Splits, check_trainable
from nearkin.data.imageset import fingerprint
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.fileio import as_object, claim, read_json, write_json
from nearkin.folders import CONFIG, METRICS, run_name
from nearkin.methods import FitContext, create, default_settings, filled, known_settings, method_info, reads_labels
from nearkin.methods.base import resolve
from nearkin.methods.laplacian import choose_nodes, eigenmaps
from nearkin.methods.neighborhood import SOURCES
from nearkin.methods.registry import NEEDS
from nearkin.train.record import MetricsLog, need_tensorboard, write_events

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

_DEPRECATED = "deprecated"  # the value of a parameter that has another name now
_HIDDEN = {"keep": 0}  # snapshots serve the test losses of a study, and there are no test images here


class InputError(DataError, ValueError):
    """X or y is not what an estimator takes. A ValueError too, as scikit-learn's users expect."""


def check_images(X: Any) -> NDArray[np.uint8]:
    """uint8 (N, 3, H, W) or (N, H, W, 3), values 0..255, H = W -> uint8 (N, 3, H, W), a view where possible.

    The shape says where the channels are: the axis of length 3. Grey images are repeated to 3 channels by the caller.

    Raises:
        InputError: another type or shape, no images, or a shape that can be read both ways.
    """
    images = np.asarray(X)
    if images.dtype != np.uint8:
        raise InputError(
            f"X has dtype {images.dtype}; images are uint8, 0..255. For floats in [0, 1]: (255 * X).round().astype('uint8')."
        )
    if images.ndim != 4 or 3 not in (images.shape[1], images.shape[3]):
        raise InputError(
            f"X has shape {images.shape}; images are (N, 3, H, W) or (N, H, W, 3). Grey ones: np.repeat(X[:, None], 3, axis=1)."
        )
    if images.shape[1] == images.shape[3]:
        raise InputError(
            f"X has shape {images.shape}, which can be read as (N, 3, H, W) and as (N, H, W, 3); use larger images."
        )
    if images.shape[3] == 3:
        images = images.transpose(0, 3, 1, 2)
    if not len(images) or images.shape[2] != images.shape[3]:
        raise InputError(
            f"X holds {len(images)} images of {images.shape[2]} x {images.shape[3]} pixels; at least one, and square ones, are needed."
        )
    return images


def _is_images(X: Any) -> bool:
    """Whether X has the four axes of images."""
    return len(getattr(X, "shape", ())) == 4


@dataclass(kw_only=True, eq=False, repr=False, init=False)
class ImageEmbedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]
    """Base of the estimators on images. A subclass names its method; the method's settings become its parameters.

    Parameters (all by keyword; besides the method's settings, which docs/methods explains):
        layer: what ``transform`` returns; None for the layer that downstream work should use.
        validation_fraction: share of X held out of training for the curves in ``history_``; no effect where nothing is
            trained.
        random_state: int, RandomState or None, as in scikit-learn.
        device: "auto", "cpu" or "cuda".
        run_dir: folder for weights and metrics; a fit that was interrupted there continues, a finished one is read. None
            for a temporary one.
        tensorboard: write TensorBoard's event files into run_dir too; needs the package.
        verbose: progress bars.
    Attributes:
        method_: the fitted method. layer_: the layer that ``transform`` returns. image_shape_: (3, H, W) of X.
        seed_: the seed that ``random_state`` gave. history_: lines of the run's record, each a dict with "kind".
    """

    method: ClassVar[str]
    # Parameters that have scikit-learn's name, by the name of the method's setting, which was the parameter's before.
    renamed: ClassVar[dict[str, str]] = {}

    layer: str | None = None
    validation_fraction: float = 0.1
    random_state: int | np.random.RandomState | None = None
    device: str = "auto"
    run_dir: str | Path | None = None
    tensorboard: bool = False
    verbose: bool = False

    def __new__(cls, **parameters: Any) -> Self:
        if not hasattr(cls, "method"):
            raise TypeError("ImageEmbedding is a base class; use one of its subclasses, such as VICReg.")
        legal = [field.name for field in fields(cls)]
        for name in parameters:
            if name not in legal:
                raise unknown("parameter", name, sorted(legal))
        made: Self = super().__new__(cls)
        return made

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn from images.

        Args:
            X: uint8 (N, 3, S, S) or (N, S, S, 3), 0..255.
            y: (N,) labels. Read only by Supervised and with neighbors_from="labels" or neighbors_same_class; ignored otherwise.
        Raises:
            InputError: X or y of another type or shape. ConfigError: an illegal parameter, or another fit in run_dir.
            TrainingError: the loss is not finite.
        """
        images = check_images(X)
        check_trainable(images, "X")
        seed = _seed(self.random_state)
        settings = self._settings()
        if self.tensorboard:
            need_tensorboard()
            if self.run_dir is None:
                raise ConfigError("tensorboard=True writes into run_dir, which is None; give a folder.")
        labels, classes = self._labels(y, len(images), settings)
        splits = self._splits(images, labels, classes, seed)
        with self._folder() as name:
            folder = Path(name)
            model = create(self.method, settings, splits.train.images.shape[1:])
            layer = self.layer or model.primary_layer
            if layer not in model.layers:
                raise unknown("layer", layer, model.layers)
            self._claim(folder, self.method, model.settings, splits.train, seed)
            context = FitContext(splits, folder, seed, self.device, bool(self.verbose), type(self).__name__)
            needed = self._needed(settings, context)
            model.fit(replace(context, tensorboard=bool(self.tensorboard), runs=needed))
            if self.tensorboard:
                write_events(folder)
            self.history_ = MetricsLog(folder / METRICS).read()
        self.method_, self.layer_, self.seed_ = model, layer, seed
        self.image_shape_ = tuple(images.shape[1:])
        self._n_features_out = int(self.transform_images(images[:2]).shape[1])
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Embed images as large as those of ``fit``: uint8 (N, 3, S, S) or (N, S, S, 3) -> float32 (N, D).

        Raises:
            NotFittedError: before ``fit``. InputError: another type or shape.
        """
        check_is_fitted(self, "method_")
        images = check_images(X)
        if images.shape[1:] != self.image_shape_:
            raise InputError(
                f"X holds images {images.shape[1:]}; {type(self).__name__} was fitted on {self.image_shape_}."
            )
        return self.transform_images(images)

    def transform_images(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """:meth:`transform` of images (N, 3, S, S) that need no check."""
        out: NDArray[np.float32] = self.method_.embed(images, (self.layer_,))[self.layer_]
        return out

    def _settings(self) -> dict[str, Any]:
        """The method's settings, by their own names."""
        hidden = {name: value for name, value in _HIDDEN.items() if name in known_settings(self.method)}
        own = {name: value for name, value in self.get_params(deep=False).items() if name not in COMMON}
        for setting, name in self.renamed.items():
            value, before = own.pop(name), own[setting]
            if isinstance(before, str) and before == _DEPRECATED:
                own[setting] = value
            else:
                warnings.warn(
                    f"{type(self).__name__}: '{setting}' is called '{name}' now; the old name will go.",
                    FutureWarning,
                    stacklevel=3,
                )
        return own | hidden

    def _labels(self, y: Any, n: int, settings: dict[str, Any]) -> tuple[NDArray[np.int64] | None, tuple[str, ...]]:
        """Labels for the methods that say that they use them, and for no other."""
        if not reads_labels(self.method, settings):
            return None, ()
        if y is None:
            raise InputError(f"{type(self).__name__} learns from labels here; give y with one label per image.")
        values = np.asarray(y)
        if values.shape != (n,):
            raise InputError(f"y has shape {values.shape}; expected ({n},), one label per image.")
        names, labels = np.unique(values, return_inverse=True)
        return labels.astype(np.int64), tuple(str(name) for name in names)

    def _splits(
        self, images: NDArray[np.uint8], labels: NDArray[np.int64] | None, classes: tuple[str, ...], seed: int
    ) -> Splits:
        """X cut into training and validation images, no test images; without a training loop, X is both."""
        every = ImageSet(images, np.arange(len(images)).astype(np.str_), labels, classes)
        share = self.validation_fraction
        if not method_info(self.method).trained:
            return Splits(every, every, every.take(np.arange(0)))
        if not 0 < share < 1:
            raise ConfigError(f"validation_fraction is {share}; it must lie between 0 and 1.")
        held = max(2, round(len(images) * share))
        if len(images) - held < 2:
            raise InputError(f"X holds {len(images)} images; with {held} held out, fewer than 2 are left to train on.")
        order = np.random.default_rng([seed, 13]).permutation(len(images))
        return Splits(every.take(np.sort(order[held:])), every.take(np.sort(order[:held])), every.take(np.arange(0)))

    def _folder(self) -> AbstractContextManager[str]:
        if self.run_dir is None:
            return tempfile.TemporaryDirectory(prefix="nearkin-")
        return nullcontext(str(self.run_dir))

    def _claim(self, folder: Path, method: str, settings: dict[str, Any], train: ImageSet, seed: int) -> None:
        """Write config.json, or check that the one in ``folder`` says the same."""
        config = {
            "method": method,
            "seed": seed,
            "settings": json.loads(json.dumps(settings)),
            "image_size": train.images.shape[2],
            "data": f"arrays {fingerprint(train)}",
        }
        claim(folder)
        path = folder / CONFIG
        before = read_json(path) if path.exists() else config
        if before | {"settings": filled(method, as_object(before.get("settings")))} != config:
            raise ConfigError(
                f"run_dir {folder} holds a run with other parameters, random_state or images. Choose another."
            )
        write_json(path, config)

    def _needed(self, settings: dict[str, Any], context: FitContext) -> dict[str, Path]:
        """Fit the method whose features this one reads, with the same settings where it has them."""
        source = settings.get("neighbors_from", settings.get("features_from"))
        if source not in SOURCES:
            return {}
        name, train = SOURCES[source], context.splits.train
        shared = {key: value for key, value in settings.items() if key in known_settings(name)}
        model = create(name, shared, train.images.shape[1:])
        below = context.folder / NEEDS / run_name(name, context.seed)
        self._claim(below, name, model.settings, train, context.seed)
        model.fit(replace(context, folder=below, title=name))
        return {name: below}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True  # scikit-learn's own checks would feed 2-D arrays
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


# Parameters that every estimator has besides the settings of its method, with their defaults.
COMMON: dict[str, Any] = {field.name: field.default for field in fields(ImageEmbedding)}


def _seed(random_state: Any) -> int:
    """A seed: the int itself, or one drawn from the RandomState or, for None, from numpy's global one."""
    if isinstance(random_state, int | np.integer) and not isinstance(random_state, bool) and random_state >= 0:
        return int(random_state)
    try:
        return int(check_random_state(random_state).randint(2**31 - 1))
    except ValueError as error:
        raise ConfigError(
            f"random_state is {random_state!r}; it must be an int from 0, a RandomState or None."
        ) from error


# One estimator per method: its parameters. docs/methods explains them.


@dataclass(kw_only=True, eq=False, repr=False)
class _Training:
    """Settings of the training loop, see TrainConfig."""

    epochs: int = 10
    batch_size: int = 256
    optimizer: str = "adamw"
    lr: float = 2e-3
    muon_lr: float = 0.02
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    schedule: str = "cosine"
    precision: str = "auto"
    compile: bool = False
    sync_batchnorm: bool = False
    eval_every: int = 1


@dataclass(kw_only=True, eq=False, repr=False)
class _Views:
    """Settings of a net that is trained on views."""

    encoder: str = "fast"
    projector: tuple[int, ...] = (1024, 1024)
    stem: str = "random"
    recipe: str = "reference"
    n_views: int = 2


@dataclass(kw_only=True, eq=False, repr=False)
class _VICRegTerms:
    """Settings of VICReg's loss."""

    invariance_weight: float = 25.0
    variance_weight: float = 25.0
    covariance_weight: float = 1.0
    gamma: float = 1.0
    epsilon: float = 1e-4
    convention: str = "official"


@dataclass(kw_only=True, eq=False, repr=False)
class VICReg(_VICRegTerms, _Views, _Training, ImageEmbedding):
    """Variance-invariance-covariance regularisation on two views (Bardes, Ponce, LeCun 2022)."""

    method = "vicreg"


@dataclass(kw_only=True, eq=False, repr=False)
class NGN(_VICRegTerms, _Views, _Training, ImageEmbedding):
    """VICReg whose positives are nearest neighbours instead of augmentations.

    neighbors_from: "vicreg" (one is trained first, with the same settings), "pixels", a run folder, or "labels" (needs y).
    neighbors_same_class: only neighbours of the image's class (needs y).
    """

    method = "ngn"
    renamed: ClassVar[dict[str, str]] = {"neighbors_k": "n_neighbors"}

    neighbors_from: str = "vicreg"
    n_neighbors: int = 3
    neighbors_metric: str = "l2"
    neighbors_same_class: bool = False
    augment: bool = False
    refresh_epochs: int = 0
    neighbors_k: int | str = _DEPRECATED


@dataclass(kw_only=True, eq=False, repr=False)
class LatentOptimization(_Training, ImageEmbedding):
    """A code per image and a decoder, no encoder; ``transform`` optimises codes at test time, unless layer="distilled"."""

    method = "lo"

    encoder: str = "fast-tiny"
    recipe: str = "simple"
    code_dim: int = 128
    code_lr: float = 0.3
    code_per: str = "image"
    decoder_width: int = 128
    reconstruction_weight: float = 10.0
    invariance_weight: float = 25.0
    variance_weight: float = 1.0
    covariance_weight: float = 0.04
    gamma: float = 1.0
    epsilon: float = 1e-4
    infer_steps: int = 40
    infer_lr: float = 0.1
    distill_epochs: int = 10


@dataclass(kw_only=True, eq=False, repr=False)
class FreeCodes(_VICRegTerms, _Training, ImageEmbedding):
    """A code per image, VICReg's terms on neighbours, no encoder. neighbors_from as in NGN."""

    method = "free-codes"
    renamed: ClassVar[dict[str, str]] = {"neighbors_k": "n_neighbors"}

    code_dim: int = 128
    code_lr: float = 0.02
    neighbors_from: str = "vicreg"
    n_neighbors: int = 3
    neighbors_metric: str = "l2"
    neighbors_k: int | str = _DEPRECATED


@dataclass(kw_only=True, eq=False, repr=False)
class BarlowTwins(_Views, _Training, ImageEmbedding):
    """Cross-correlation of two views towards the identity (Zbontar et al. 2021)."""

    method = "barlow"

    redundancy_weight: float = 0.0051
    loss_scale: float = 0.1


@dataclass(kw_only=True, eq=False, repr=False)
class SimCLR(_Views, _Training, ImageEmbedding):
    """Contrast with the rest of the batch (Chen et al. 2020)."""

    method = "simclr"

    temperature: float = 0.5


@dataclass(kw_only=True, eq=False, repr=False)
class BYOL(_Views, _Training, ImageEmbedding):
    """Predict a moving average of oneself (Grill et al. 2020)."""

    method = "byol"

    predictor_hidden: int = 1024
    tau: float = 0.99


@dataclass(kw_only=True, eq=False, repr=False)
class SimSiam(_Views, _Training, ImageEmbedding):
    """Predict oneself, the gradient stopped (Chen, He 2021)."""

    method = "simsiam"

    predictor_hidden: int = 256


@dataclass(kw_only=True, eq=False, repr=False)
class WMSE(_Views, _Training, ImageEmbedding):
    """Whitened positives (Ermolov et al. 2021)."""

    method = "wmse"

    out_dim: int = 64
    w_size: int = 128
    w_iter: int = 1


@dataclass(kw_only=True, eq=False, repr=False)
class LeJEPA(_Views, _Training, ImageEmbedding):
    """Prediction and SIGReg (Balestriero, LeCun 2025)."""

    method = "lejepa"

    out_dim: int = 64
    sigreg_weight: float = 0.02
    slices: int = 256


@dataclass(kw_only=True, eq=False, repr=False)
class Supervised(_Views, _Training, ImageEmbedding):
    """The same encoder trained with labels, which ``fit`` needs as y: a ceiling."""

    method = "supervised"


@dataclass(kw_only=True, eq=False, repr=False)
class LaplacianEigenmaps(ImageEmbedding):
    """Eigenvectors of a neighbour graph's Laplacian, new points by Nystrom (Belkin, Niyogi 2003; Bengio et al. 2004).

    X: uint8 images, as for the other estimators, or a matrix of features (N, F), N >= 3. With features, ``features_from``
    must stay "pixels" (the graph is built on X itself), and ``run_dir`` is not used. ``n_components`` and
    ``n_neighbors`` are cut to N - 2 and N - 1. ``transform`` extends by Nystrom, also to the points of the graph.

    Attributes:
        embedding_: the fitted graph's SpectralEmbedding; only after a fit on features.
        n_features_in_: F; only after a fit on features.
    """

    method = "le-pixels"
    renamed: ClassVar[dict[str, str]] = {"dim": "n_components", "graph_k": "n_neighbors"}

    features_from: str = "pixels"
    n_components: int = 64
    n_neighbors: int = 15
    graph_metric: str = "l2"
    graph_weights: str = "heat"
    max_nodes: int = 10_000
    dim: int | str = _DEPRECATED
    graph_k: int | str = _DEPRECATED

    def fit(self, X: Any, y: Any = None) -> Self:
        """Build the graph and its eigenvectors.

        Raises:
            InputError: X is neither images nor features. ConfigError: an illegal parameter.
        """
        if _is_images(X):
            self.__dict__.pop("embedding_", None)
            super().fit(X, y)
            return self
        Z = self._features(X, reset=True)
        settings = resolve(default_settings(self.method), self._settings(), train=False)
        if settings["features_from"] != "pixels":
            raise ConfigError(
                f"features_from is {settings['features_from']!r}; with a matrix of features it must be 'pixels'."
            )
        self.seed_ = _seed(self.random_state)
        nodes = Z[choose_nodes(len(Z), settings["max_nodes"], self.seed_)]
        if len(nodes) < 3:
            raise ConfigError(f"max_nodes is {settings['max_nodes']}; a graph needs at least 3.")
        self.embedding_ = eigenmaps(nodes, settings, self.seed_)
        self._n_features_out = self.embedding_.vectors.shape[1]
        return self

    def transform(self, X: Any) -> NDArray[np.float32]:
        """Images or features of the fitted kind -> float32 (N, D), by Nystrom.

        Raises:
            NotFittedError: before ``fit``. InputError: another type or shape.
        """
        check_is_fitted(self, "_n_features_out")
        if not hasattr(self, "embedding_"):
            return super().transform(X)
        return self.embedding_.transform(self._features(X, reset=False)).astype(np.float32)

    def _features(self, X: Any, *, reset: bool) -> NDArray[np.float32]:
        if _is_images(X):
            raise InputError("X holds images; LaplacianEigenmaps was fitted on features (N, F).")
        out: NDArray[np.float32] = validate_data(
            self, X, reset=reset, dtype=np.float32, order="C", ensure_min_samples=3 if reset else 1
        )
        return out

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.no_validation = False
        return tags


@dataclass(kw_only=True, eq=False, repr=False)
class RandomEncoder(_VICRegTerms, _Views, ImageEmbedding):
    """The untrained encoder: a baseline."""

    method = "random-init"


@dataclass(kw_only=True, eq=False, repr=False)
class PixelPCA(ImageEmbedding):
    """Principal components of the pixels: a baseline."""

    method = "pca"
    renamed: ClassVar[dict[str, str]] = {"components": "n_components"}

    n_components: int = 128
    components: int | str = _DEPRECATED


@dataclass(kw_only=True, eq=False, repr=False)
class RawPixels(ImageEmbedding):
    """The pixels in [0, 1]: a baseline."""

    method = "raw-pixels"


@dataclass(kw_only=True, eq=False, repr=False)
class HOG(ImageEmbedding):
    """Gradient and colour histograms: a baseline. Needs the extra nearkin[baselines]."""

    method = "hog"
