"""The study's single steps on their own: fit a run, embed with it, draw a map."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.analyze.maps import draw_maps
from nearkin.atomic import read_json, write_json
from nearkin.data import Splits
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError, unknown
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
    splits = _splits(data, labels, config.get("image_size"), strict, subset, progress)
    model = _loaded(run, config, tuple(splits.train.images.shape[1:]), device)
    chosen = _layer(model, layer)
    made = embed_splits(model, splits, {**config, "run": run.name}, None)[chosen]
    claim(out.parent)
    made.save(out)
    return made


def _loaded(run: Path, config: dict[str, Any], shape: tuple[int, int, int], device: str) -> Any:
    """The method of a finished run with its weights."""
    model = create(config["method"], config["settings"], shape)
    needs = method_info(config["method"]).needs
    if needs:
        model.use_runs({needed: run.parent / f"{needed}-s{config['seed']}" for needed in needs})
    model.load(run, device)
    return model


def _layer(model: Any, layer: str | None) -> str:
    chosen: str = layer or model.primary_layer
    if chosen not in model.layers:
        raise unknown("layer", chosen, model.layers)
    return chosen


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


def embed_images(run: Path, images: NDArray[np.uint8], layer: str | None, device: str) -> NDArray[np.float32]:
    """Vectors float32 (N, D) of images uint8 (N, 3, S, S), already in memory, by a finished run.

    Raises:
        DataError: no run there, or one of images of another size. ConfigError: unknown layer.
    """
    config = read_json(run / "config.json")
    size = images.shape[-1]
    if config.get("image_size", size) != size:
        raise DataError(f"{run} was trained on images of side {config['image_size']}; these have side {size}.")
    model = _loaded(run, config, (3, size, size), device)
    out: NDArray[np.float32] = model.embed(images)[_layer(model, layer)]
    return out
