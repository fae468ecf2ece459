"""What the estimators share: a method of nearkin behind scikit-learn's interface. No algorithm lives here."""

from __future__ import annotations

import inspect
import json
import tempfile
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from nearkin.data import ImageSet, Splits, check_trainable
from nearkin.data.imageset import fingerprint
from nearkin.errors import ConfigError, unknown
from nearkin.estimators.images import InputError, check_images
from nearkin.fileio import as_object, claim, read_json, write_json
from nearkin.folders import CONFIG, METRICS
from nearkin.methods import FitContext, create, default_settings, filled, known_settings, method_info, reads_labels
from nearkin.methods.neighborhood import SOURCES
from nearkin.methods.registry import NEEDS
from nearkin.train.record import Record
from nearkin.train.tensorboard import need_tensorboard, write_events

# Parameters that every estimator has besides the settings of its method.
COMMON: dict[str, Any] = {
    "layer": None,
    "validation_fraction": 0.1,
    "random_state": None,
    "device": "auto",
    "run_dir": None,
    "tensorboard": False,
    "verbose": False,
}
_HIDDEN = {"keep": 0}  # snapshots serve the test losses of a study, and there are no test images here


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

    def __init_subclass__(cls, method: str = "", **options: Any) -> None:
        super().__init_subclass__(**options)
        if method:
            cls.method = method
            hidden = {*_HIDDEN, "checkpoint_seconds"}
            own = {name: value for name, value in default_settings(method).items() if name not in hidden}
            cls.__init__ = _constructor(own | COMMON)  # type: ignore[method-assign]

    def __init__(self, **parameters: Any) -> None:
        raise TypeError("ImageEmbedding is a base class; use one of its subclasses, such as VICReg.")

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
            self.history_ = Record(folder / METRICS).read()
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
        hidden = {name: value for name, value in _HIDDEN.items() if name in known_settings(self.method)}
        own = {name: value for name, value in self.get_params(deep=False).items() if name not in COMMON}
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
        """Everything to train on, or all but the held-out share where there are curves to draw; no test images."""
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
        """Write what the run in ``folder`` is, or check it against what is there."""
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
        """Train what the method looks for neighbours under, with this estimator's settings where they apply."""
        source = settings.get("neighbors_from", settings.get("features_from"))
        if source not in SOURCES:
            return {}
        name, train = SOURCES[source], context.splits.train
        shared = {key: value for key, value in settings.items() if key in known_settings(name)}
        model = create(name, shared, train.images.shape[1:])
        below = context.folder / NEEDS / f"{name}-s{context.seed}"
        self._claim(below, name, model.settings, train, context.seed)
        model.fit(replace(context, folder=below, title=name))
        return {name: below}

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.no_validation = True  # scikit-learn's own checks would feed 2-D arrays
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags


def _constructor(defaults: dict[str, Any]) -> Any:
    """An ``__init__`` that stores keyword parameters with these defaults, with the signature that scikit-learn reads."""

    def __init__(self: Any, **parameters: Any) -> None:
        for name in parameters:
            if name not in defaults:
                raise unknown("parameter", name, sorted(defaults))
        for name, value in {**defaults, **parameters}.items():
            setattr(self, name, value)

    kind = inspect.Parameter.KEYWORD_ONLY
    own = [inspect.Parameter(name, kind, default=value) for name, value in defaults.items()]
    this = inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    __init__.__signature__ = inspect.Signature([this, *own])  # type: ignore[attr-defined]
    return __init__


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
