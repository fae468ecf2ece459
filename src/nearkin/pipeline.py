"""The study's single steps on their own: fit a run, embed with it, draw a map."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.analyze.maps import draw_maps
from nearkin.atomic import read_json, write_json
from nearkin.data import Splits
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, unknown
from nearkin.methods import create, method_info
from nearkin.runfolder import claim
from nearkin.study import _jsonable, embed_splits, method_settings


def _splits(
    data: str, labels: Path | None, size: int | None, strict: bool, subset: int | None, progress: bool
) -> Splits:
    dataset = nd.load(data, labels=labels, size=size, strict=strict, progress=progress)
    nd.check_trainable(dataset.train.images, dataset.source)
    return nd.split(dataset, subset=subset)


def fit_run(
    data: str,
    out: Path,
    method: str,
    settings: dict[str, Any],
    *,
    seed: int,
    subset: int | None,
    labels: Path | None,
    size: int | None,
    strict: bool,
    device: str,
    progress: bool,
) -> Path:
    """Train one method into the folder ``out``; continue what is there if its config is the same."""
    claim(out)
    splits = _splits(data, labels, size, strict, subset, progress)
    shape: tuple[int, int, int] = tuple(splits.train.images.shape[1:])
    model = create(method, method_settings(method, settings), shape)
    config = {
        "method": method,
        "seed": seed,
        "settings": _jsonable(model.settings),
        "image_size": shape[1],
        "data": data,
    }
    if (out / "config.json").exists() and read_json(out / "config.json") != config:
        raise ConfigError(f"{out} holds a run with another configuration. Choose another -o.")
    write_json(out / "config.json", config)
    model.fit(splits, out, seed=seed, device=device, progress=progress, title=method)
    return out


def embed_run(
    run: Path,
    data: str,
    out: Path,
    *,
    layer: str | None,
    labels: Path | None,
    subset: int | None,
    strict: bool,
    device: str,
    progress: bool,
) -> Embeddings:
    """Embed a set with a finished run and save one layer as Parquet."""
    config = read_json(run / "config.json")
    splits = _splits(data, labels, image_size(run), strict, subset, progress)
    model, chosen = _open(run, config, tuple(splits.train.images.shape[1:]), layer, device)
    made = embed_splits(model, splits, {**config, "run": run.name}, None)[chosen]
    claim(out.parent)
    made.save(out)
    return made


def embedder(
    run: Path, shape: tuple[int, ...], *, layer: str | None = None, device: str = "auto"
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """A finished run as a function: images uint8 (N, *shape) -> one layer's vectors float32 (N, D).

    Args:
        shape: (3, H, W) of the images, as large as those the run was trained on (:func:`image_size`).
    """
    model, chosen = _open(run, read_json(run / "config.json"), shape, layer, device)

    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        vectors: NDArray[np.float32] = model.embed(images, (chosen,))[chosen]
        return vectors

    return embed


def image_size(run: Path) -> int | None:
    """Side of the images that a run was trained on: its own record or its study's; None where neither says."""
    own = read_json(run / "config.json").get("image_size")
    study = run.parent.parent / "data.json"
    if own is None and study.exists():
        own = read_json(study).get("image_shape", [None])[-1]
    return None if own is None else int(own)


def _open(run: Path, config: dict[str, Any], shape: tuple[int, ...], layer: str | None, device: str) -> tuple[Any, str]:
    """Load a run's method; return it and the layer asked for (default: the one for downstream use)."""
    model = create(config["method"], config["settings"], (shape[0], shape[1], shape[2]))
    needs = method_info(config["method"]).needs
    if needs:
        model.use_runs({needed: run.parent / f"{needed}-s{config['seed']}" for needed in needs})
    model.load(run, device)
    chosen = layer or model.primary_layer
    if chosen not in model.layers:
        raise unknown("layer", chosen, model.layers)
    return model, chosen


def draw(embeddings: Embeddings, out: Path, *, kind: str, split: str, max_images: int, seed: int) -> str:
    """Draw one map into a .parquet or .png file; return a line on its trustworthiness."""
    if kind not in ("tsne", "pca"):
        raise unknown("map", kind, ("tsne", "pca"))
    if out.suffix not in (".parquet", ".png"):
        raise ConfigError(f"-o {out}: a map is written as .parquet or .png.")
    part = embeddings if split == "all" else embeddings.part(split)
    if not len(part):
        raise ConfigError(
            f"no rows with split '{split}'; the file has: {', '.join(sorted(set(embeddings.split.tolist())))}. Use --split all."
        )
    part = part.take(np.sort(np.random.default_rng(seed).permutation(len(part))[:max_images]))
    item = draw_maps(part.Z, part.labels, seed=seed)[kind]
    if item.skipped:
        raise ConfigError(f"no map: {item.skipped}.")
    claim(out.parent)
    from nearkin.analyze.picture import save_map

    save_map(part, item, out, title=kind)
    trust = "-" if item.trustworthiness is None else f"{item.trustworthiness:.3f}"
    return f"{len(part):,} images; trustworthiness {trust}, neighbours preserved {100 * (item.preservation or 0):.0f} %"
