"""Laplacian eigenmaps of images, or of any matrix of features."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted, validate_data

from nearkin.errors import ConfigError
from nearkin.estimators.base import ImageEmbedding, _seed
from nearkin.estimators.images import InputError
from nearkin.methods.base import resolve
from nearkin.methods.laplacian import choose_nodes, eigenmaps


class LaplacianEigenmaps(ImageEmbedding, method="le-pixels"):
    """Eigenvectors of a neighbour graph's Laplacian, new points by Nystrom (Belkin, Niyogi 2003; Bengio et al. 2004).

    X: uint8 images, as for the other estimators, or a matrix of features (N, F), N >= 3. With features, ``features_from``
    must stay "pixels" (the graph is built on X itself), and ``run_dir`` is not used. ``dim`` and ``graph_k`` are cut to
    N - 2 and N - 1. ``transform`` extends by Nystrom, also to the points of the graph.

    Attributes:
        embedding_: the fitted graph's SpectralEmbedding; only after a fit on features.
        n_features_in_: F; only after a fit on features.
    """

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
        settings = resolve(self._defaults(), self._settings(), train=False)
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

    def _defaults(self) -> dict[str, Any]:
        from nearkin.methods import default_settings

        return default_settings(self.method)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.no_validation = False
        return tags


def _is_images(X: Any) -> bool:
    return len(getattr(X, "shape", ())) == 4
