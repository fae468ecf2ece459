"""Laplacian eigenmaps with a Nystrom extension to new points.

Belkin, Niyogi: "Laplacian Eigenmaps for Dimensionality Reduction and Data Representation", Neural Computation 2003.
Graph: k nearest neighbours (exact, L2 or cosine), made symmetric by the union of edges; weights 1 ("binary") or
exp(-d^2 / (2 s^2)) ("heat") with s the median distance to the k-th neighbour. With W the weights and D the degrees, the
embedding solves L f = lambda D f, L = D - W, for the smallest lambda, the constant vector dropped.

Solver: the eigenvectors of the symmetric S = D^-1/2 W D^-1/2 for its largest eigenvalues mu = 1 - lambda, by Lanczos
(scipy's eigsh). Shift-invert needs a sparse factorisation, which fills in almost completely on neighbour graphs of
high-dimensional data; on 10,000 images plain Lanczos on S is faster and needs only the graph (benchmarks/eigenmaps.py measures both).

A disconnected graph has one constant vector per component, and eigenvectors that live on one component only. As usual the
components are joined by the shortest edges between them (a spanning tree over components), with the smallest weight of
the graph; ``n_components`` says how many there were.

New points (Bengio et al. 2004): f(x) = 1 / (1 - lambda) * sum_i w(x, i) / (sum_j w(x, j)) * f_i over the k nearest graph
nodes. At a node itself, with its own edges, this returns f exactly.

As a method there is no net and no training; images are nodes. The graph is built on at most ``max_nodes`` training images
(10,000, as in the reference study); every other image,
validation and test included, gets its coordinates by the Nystrom extension, so nothing transductive enters the test.
``features_from`` says where distances come from: "pixels", "random" (the untrained encoder, as in the known protocol), or
a trained run ("vicreg" in a study, or a run folder).
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from scipy.sparse.csgraph import connected_components, minimum_spanning_tree

from nearkin.errors import ConfigError, unknown
from nearkin.fileio import write_json
from nearkin.folders import WEIGHTS
from nearkin.methods.base import FitContext, Method, resolve
from nearkin.methods.neighborhood import Features, frozen_features
from nearkin.search.exact import METRICS, knn
from nearkin.train.checkpoint import load_tensors, save_tensors
from nearkin.vectors import sample_rows

GRAPH_WEIGHTS = ("heat", "binary")


def _weights(distances: NDArray[np.float32], kind: str, scale: float) -> NDArray[np.float64]:
    if kind == "binary":
        return np.ones(distances.shape)
    return np.exp(-np.square(distances.astype(np.float64)) / (2 * scale * scale))


def knn_graph(
    Z: NDArray[np.float32], k: int, *, metric: str = "l2", weights: str = "heat"
) -> tuple[sparse.csr_array, float]:
    """Symmetric weights of the kNN graph of Z (N, D): sparse float64 (N, N) without self-loops, and the heat scale.

    Raises:
        ConfigError: unknown kind of weights, or k outside 1 .. N - 1.
    """
    if weights not in GRAPH_WEIGHTS:
        raise unknown("graph weights", weights, GRAPH_WEIGHTS)
    neighbors = knn(Z, Z, k, metric=metric, exclude_self=True)
    scale = float(np.median(neighbors.distances[:, -1])) or 1.0
    n = len(Z)
    values = _weights(neighbors.distances, weights, scale).ravel()
    rows = np.repeat(np.arange(n), k)
    directed = sparse.csr_array((values, (rows, neighbors.indices.ravel())), shape=(n, n))
    return directed.maximum(directed.T).tocsr(), scale


def components(graph: sparse.csr_array) -> tuple[int, NDArray[np.int64]]:
    """Number of connected components, and the component of each node, int64 (N,)."""
    count, labels = connected_components(graph, directed=False)
    return int(count), labels.astype(np.int64)


def _join(graph: sparse.csr_array, labels: NDArray[np.int64], Z: NDArray[np.float32], metric: str) -> sparse.csr_array:
    """Connect the components by the shortest edges of a spanning tree over them, with the graph's smallest weight."""
    count = int(labels.max()) + 1
    best = sparse.lil_array((count, count))
    edge: dict[tuple[int, int], tuple[int, int]] = {}
    members = [np.flatnonzero(labels == c) for c in range(count)]
    for a in range(count):
        others = np.flatnonzero(labels != a)
        nearest = knn(Z[members[a]], Z[others], 1, metric=metric)
        # The shortest edge from a to each other component that is some member's nearest foreign node.
        for i, (distance, j) in enumerate(zip(nearest.distances[:, 0], nearest.indices[:, 0], strict=True)):
            b = int(labels[others[j]])
            pair = (min(a, b), max(a, b))
            value = float(distance) + 1e-12
            if pair not in edge or value < best[pair]:
                best[pair] = value
                edge[pair] = (int(members[a][i]), int(others[j]))
    tree = minimum_spanning_tree(best.tocsr()).tocoo()
    weight = float(graph.data[graph.data > 0].min())
    joined = graph.tolil()
    for a, b in zip(tree.row, tree.col, strict=True):
        i, j = edge[(min(int(a), int(b)), max(int(a), int(b)))]
        joined[i, j] = joined[j, i] = weight
    return joined.tocsr()


@dataclass(frozen=True)
class SpectralEmbedding:
    """Attributes:
    nodes: float32 (N, D), the points of the graph. vectors: float64 (N, d), each column of mean square 1.
    eigenvalues: float64 (d,), ascending, of L f = lambda D f, the constant vector dropped.
    n_components: connected components of the graph before they were joined.
    """

    nodes: NDArray[np.float32]
    vectors: NDArray[np.float64]
    eigenvalues: NDArray[np.float64]
    n_components: int
    k: int
    metric: str
    weights: str
    scale: float

    @classmethod
    def fit(
        cls,
        Z: NDArray[np.float32],
        dim: int,
        *,
        k: int = 15,
        metric: str = "l2",
        weights: str = "heat",
        seed: int = 0,
    ) -> SpectralEmbedding:
        """Embed Z (N, D) into ``dim`` dimensions.

        Raises:
            ConfigError: dim outside 1 .. N - 2, or k outside 1 .. N - 1.
        """
        n = len(Z)
        if not 1 <= dim <= n - 2:
            raise ConfigError(f"{dim} eigenvectors of a graph of {n} images: the dimension must lie in 1..{n - 2}.")
        graph, scale = knn_graph(Z, k, metric=metric, weights=weights)
        count, labels = components(graph)
        while components(graph)[0] > 1:  # one round joins each component to another; a few rounds join all
            graph = _join(graph, components(graph)[1], Z, metric)
        values, vectors = smallest(graph, dim + 1, seed)
        return cls(Z, vectors[:, 1:], values[1:], count, k, metric, weights, scale)

    def transform(self, Z: NDArray[np.float32]) -> NDArray[np.float64]:
        """Nystrom: points (M, D) -> (M, d)."""
        neighbors = knn(Z, self.nodes, self.k, metric=self.metric)
        w = _weights(neighbors.distances, self.weights, self.scale)
        # Far away all heat weights underflow; the nearest nodes then count alike.
        w = np.where(w.sum(axis=1, keepdims=True) > 1e-300, w, 1.0)
        w /= w.sum(axis=1, keepdims=True)
        mean = np.einsum("mk,mkd->md", w, self.vectors[neighbors.indices])
        factor = 1 - self.eigenvalues  # negative for the last eigenvectors of a small graph
        out: NDArray[np.float64] = mean / np.where(np.abs(factor) > 1e-6, factor, 1e-6)
        return out


def scaled(graph: sparse.csr_array) -> tuple[sparse.csr_array, NDArray[np.float64]]:
    """D^-1/2 W D^-1/2 (N, N), whose largest eigenvalues are 1 minus the smallest of L f = lambda D f; and D^1/2 (N,)."""
    root = np.sqrt(np.asarray(graph.sum(axis=1)).ravel())
    return sparse.diags_array(1 / root) @ graph @ sparse.diags_array(1 / root), root


def smallest(graph: sparse.csr_array, count: int, seed: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ``count`` smallest solutions of L f = lambda D f, ascending, columns of mean square 1 and fixed sign."""
    n = graph.shape[0]
    S, root = scaled(graph)
    if count >= n - 1 or n <= 500:
        mu, u = np.linalg.eigh(S.toarray())
        mu, u = mu[::-1][:count], u[:, ::-1][:, :count]
    else:
        start = np.random.default_rng(seed).normal(size=n)
        mu, u = sparse.linalg.eigsh(S, k=count, which="LA", v0=start, tol=1e-6, maxiter=20 * n)
        order = np.argsort(-mu)
        mu, u = mu[order], u[:, order]
    f = u / root[:, None]
    f /= np.sqrt(np.square(f).mean(axis=0))
    largest = f[np.abs(f).argmax(axis=0), np.arange(count)]
    return 1 - mu, f * np.sign(largest)


def choose_nodes(n: int, most: int, seed: int) -> NDArray[np.int64]:
    """Rows of at most ``most`` of n points, ascending int64: the graph's nodes."""
    return sample_rows(n, most, [seed, 11])


def eigenmaps(Z: NDArray[np.float32], settings: dict[str, Any], seed: int) -> SpectralEmbedding:
    """Eigenmaps of the nodes Z (N, D), N >= 3; dimension and neighbours are cut to what N points allow."""
    dim, k = min(settings["dim"], len(Z) - 2), min(settings["graph_k"], len(Z) - 1)
    metric, weights = settings["graph_metric"], settings["graph_weights"]
    return SpectralEmbedding.fit(Z, dim, k=k, metric=metric, weights=weights, seed=seed)


class LaplacianEigenmapsMethod(Method):
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
            embedding = eigenmaps(Z, self.settings, seed)
            tensors = {
                "nodes": torch.from_numpy(embedding.nodes),
                "vectors": torch.from_numpy(embedding.vectors),
                "eigenvalues": torch.from_numpy(embedding.eigenvalues),
            }
            meta = {"n_components": embedding.n_components, "k": embedding.k, "scale": embedding.scale}
            note = _connection(embedding.n_components)
            if embedding.n_components > 1:
                print(f"note: {context.title or 'eigenmaps'}: {note}.", file=sys.stderr)
            write_json(
                folder / "graph.json",
                meta
                | {"nodes": len(Z), "dim": len(embedding.eigenvalues), "eigenvalues": embedding.eigenvalues.tolist()}
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
