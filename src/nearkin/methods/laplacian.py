"""Laplacian eigenmaps as a method: no net, no training; images are nodes of a neighbour graph (graph/laplacian.py).

The graph is built on at most ``max_nodes`` training images (10,000, as in the reference study); every other image,
validation and test included, gets its coordinates by the Nystrom extension, so nothing transductive enters the test.
``features_from`` says where distances come from: "pixels", "random" (the untrained encoder, as in the known protocol), or
a trained run ("vicreg" in a study, or a run folder).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from nearkin.errors import ConfigError, unknown
from nearkin.fileio import write_json
from nearkin.folders import WEIGHTS
from nearkin.methods.base import FitContext, Method
from nearkin.methods.neighborhood import Features, frozen_features
from nearkin.methods.settings import resolve
from nearkin.methods.spectral import WEIGHTS as GRAPH_WEIGHTS
from nearkin.methods.spectral import SpectralEmbedding
from nearkin.search.exact import METRICS
from nearkin.train.checkpoint import load_tensors, save_tensors


def choose_nodes(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most ``most`` of n points, ascending int64: the graph's nodes."""
    return np.sort(np.random.default_rng([seed, 11]).permutation(n)[:most])


def eigenmaps(Z: NDArray[np.float32], settings: dict[str, Any], seed: int) -> SpectralEmbedding:
    """Eigenmaps of the nodes Z (N, D), N >= 3; dimension and neighbours are cut to what N points allow."""
    dim, k = min(settings["dim"], len(Z) - 2), min(settings["graph_k"], len(Z) - 1)
    metric, weights = settings["graph_metric"], settings["graph_weights"]
    return SpectralEmbedding.fit(Z, dim, k=k, metric=metric, weights=weights, seed=seed)


class LaplacianEigenmaps(Method):
    """Settings: features_from, dim (64), graph_k (15), graph_metric, graph_weights ("heat" or "binary"), max_nodes."""

    defaults: ClassVar[dict[str, Any]] = {
        "features_from": "pixels",
        "dim": 64,
        "graph_k": 15,
        "graph_metric": "l2",
        "graph_weights": "heat",
        "max_nodes": 10_000,
    }
    primary_layer = "eigenmap"
    layers = ("eigenmap",)

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        self.settings = resolve(self.defaults, settings, train=False)
        self.shape = image_shape
        for name, legal in (("graph_metric", METRICS), ("graph_weights", GRAPH_WEIGHTS)):
            if self.settings[name] not in legal:
                raise unknown(name, self.settings[name], legal)
        if self.settings["max_nodes"] < 3:
            raise ConfigError(f"max_nodes is {self.settings['max_nodes']}; a graph needs at least 3.")

    def _source(self, device: str, runs: Mapping[str, Path]) -> Features:
        return frozen_features(self.settings["features_from"], runs, self.shape, device)

    def fit(self, context: FitContext) -> None:
        """Build the graph and its eigenvectors on training images; say in graph.json how it was connected."""
        folder, train = context.folder, context.splits.train
        if not (folder / WEIGHTS).exists():
            # Of nodes and of the solver's start: as registered, pixels depend on no seed.
            seed = 0 if self.settings["features_from"] == "pixels" else context.seed
            pick = choose_nodes(len(train), self.settings["max_nodes"], seed)
            Z = self._source(context.device, context.runs)(train.images[pick])
            found = eigenmaps(Z, self.settings, seed)
            tensors = {
                "nodes": torch.from_numpy(found.nodes),
                "vectors": torch.from_numpy(found.vectors),
                "eigenvalues": torch.from_numpy(found.eigenvalues),
            }
            meta = {"n_components": found.n_components, "k": found.k, "scale": found.scale}
            note = _connection(found.n_components)
            if found.n_components > 1:
                print(f"note: {context.title or 'eigenmaps'}: {note}.", file=sys.stderr)
            write_json(
                folder / "graph.json",
                meta
                | {"nodes": len(Z), "dim": len(found.eigenvalues), "eigenvalues": found.eigenvalues.tolist()}
                | {"note": note},
            )
            save_tensors(folder / WEIGHTS, tensors, meta)  # last: where weights are, the run is trained
        self.load(folder, context.device, context.runs)

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Load nodes and eigenvectors."""
        tensors, meta = load_tensors(folder / WEIGHTS)
        s = self.settings
        self._features = self._source(device, runs or {})
        self._embedding = SpectralEmbedding(
            tensors["nodes"].numpy(),
            tensors["vectors"].numpy(),
            tensors["eigenvalues"].numpy(),
            meta["n_components"],
            meta["k"],
            s["graph_metric"],
            s["graph_weights"],
            meta["scale"],
        )

    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, H, W) -> {"eigenmap": float32 (N, dim)}, all by Nystrom."""
        parts = [
            self._embedding.transform(self._features(images[start : start + 4096]))
            for start in range(0, len(images), 4096)
        ]
        return {"eigenmap": np.concatenate(parts).astype(np.float32)}


def _connection(count: int) -> str:
    if count == 1:
        return "the neighbour graph is connected"
    return f"the neighbour graph had {count} components; they were joined by their shortest edges"
