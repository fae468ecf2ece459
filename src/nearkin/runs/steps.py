"""The steps of a run on their own: fit it, embed with it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin import data as nd
from nearkin.data import ImageSet, Skipped, Splits
from nearkin.data.decode import to_square
from nearkin.data.folder import Watch, read_images
from nearkin.data.imageset import fingerprint
from nearkin.data.shards import is_shards
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError, unknown
from nearkin.fileio import as_object, claim, exclusive, file_digest, read_json, write_json
from nearkin.folders import CHECKPOINT, WEIGHTS
from nearkin.methods import METHODS, FitContext, create, filled, known_settings
from nearkin.methods.joint import JointEmbedding
from nearkin.runs.bulk import Summary, check_engine, embed_parts
from nearkin.runs.embedder import Beside, embedder, image_size, one_layer, open_run, read_config
from nearkin.runs.part_writer import Job, Work
from nearkin.runs.parts import Source, parts_of
from nearkin.train import ranks
from nearkin.train.device import pick_device
from nearkin.train.tensorboard import need_tensorboard, write_events

Say = Callable[[str], None]


def embed_splits(
    embed: Callable[[ImageSet], dict[str, NDArray[np.float32]]],
    splits: Splits,
    provenance: dict[str, Any],
    folder: Path | None,
) -> dict[str, Embeddings]:
    """Embed train, val and test (``embed``: vectors by layer); save one Parquet per layer in ``folder``, if given."""
    sets = {"train": splits.train, "val": splits.val, "test": splits.test}
    parts = {name: embed(items) for name, items in sets.items()}
    vectors = {layer: _joined([part.pop(layer) for part in parts.values()]) for layer in list(parts["train"])}
    ids = np.concatenate([items.ids for items in sets.values()])
    split = np.concatenate([np.full(len(items), name) for name, items in sets.items()])
    labels = None
    if any(items.labels is not None for items in sets.values()):
        labels = np.concatenate([items.known_labels() for items in sets.values()])
    classes = splits.train.classes or splits.test.classes
    out = {}
    for layer, Z in vectors.items():
        out[layer] = Embeddings(Z, ids, labels, split, classes, provenance | {"layer": layer})
        if folder is not None:
            out[layer].save(folder / f"{layer}.parquet")
    return out


def _joined(parts: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """All rows in one array; the list is emptied, so that rows of many pixels are not there twice."""
    out = np.empty((sum(map(len, parts)), *parts[0].shape[1:]), dtype=parts[0].dtype)
    done = 0
    while parts:
        part = parts.pop(0)
        out[done : done + len(part)] = part
        done += len(part)
    return out


def method_settings(name: str, settings: dict[str, Any]) -> dict[str, Any]:
    """The settings among ``settings`` that the method knows: a study's are for all of its methods.

    Raises:
        ConfigError: a name that no method knows.
    """
    every = set().union(*(known_settings(other) for other in METHODS))
    for given in settings:
        if given not in every:
            raise unknown("setting", given, sorted(every))
    return {key: value for key, value in settings.items() if key in known_settings(name)}


def _jsonable(settings: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(settings))  # type: ignore[no-any-return]


def _splits(
    data: str,
    labels: Path | None,
    size: int | None,
    strict: bool,
    subset: int | None,
    progress: bool,
    say: Say,
    watch: Watch = lambda path, image: None,
) -> Splits:
    dataset = nd.load(data, labels=labels, size=size, strict=strict, progress=progress, watch=watch)
    for message in nd.remarks(dataset):
        say(f"note: {message}")
    if subset is not None and subset < len(dataset.train):
        say(f"note: a fixed subset of {subset:,} of {len(dataset.train):,} images is used")
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
    say: Say = print,
    tensorboard: bool = False,
) -> Path:
    """Train one method into the folder ``out``; continue what is there if its config and images are the same.

    ``tensorboard``: write event files beside metrics.jsonl, also for a run that is finished.

    Under torchrun every rank calls this, and rank 0 writes and says.

    Raises:
        ConfigError: ``out`` holds another run. OutputError: another process is writing there, or it cannot be written.
    """
    if tensorboard:
        need_tensorboard()
    with ranks.group(pick_device(device)), exclusive(out) if ranks.rank() == 0 else nullcontext():
        with ranks.lead_first():  # images that it decodes and caches
            told: Say = (lambda text: None) if ranks.rank() else say
            splits = _splits(data, labels, size, strict, subset, progress and ranks.rank() == 0, told)
        shape: tuple[int, int, int] = tuple(splits.train.images.shape[1:])
        model = create(method, method_settings(method, settings), shape)
        config = {
            "method": method,
            "seed": seed,
            "settings": _jsonable(model.settings),
            "image_size": shape[1],
            "data": data,
            "train_fingerprint": fingerprint(dataclasses.replace(splits.train, labels=None)),
        }
        if (out / "study.json").exists():
            raise ConfigError(f"{out} is the folder of a study; a run needs one of its own. Choose another -o.")
        # Where nothing has been trained, as after a mistyped method, there is nothing to lose.
        begun = (out / WEIGHTS).exists() or (out / CHECKPOINT).exists()
        before = read_json(out / "config.json") if begun and (out / "config.json").exists() else {}
        if "settings" in before:
            before["settings"] = _jsonable(filled(method, as_object(before["settings"])))
        changed = ", ".join(name for name in config if name in before and before[name] != config[name])
        if changed:
            raise ConfigError(f"{out} holds a run with another configuration ({changed}). Choose another -o.")
        if (out / WEIGHTS).exists():
            told(f"the run in {out} is finished already")
        elif (out / CHECKPOINT).exists():
            told(f"continuing the run in {out}")
        if not ranks.rank():
            write_json(out / "config.json", config)
        model.fit(FitContext(splits, out, seed, device, progress, title=method, tensorboard=tensorboard))
        if tensorboard and not ranks.rank():
            write_events(out)
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
    compiled: bool = False,
    say: Say = print,
) -> Embeddings:
    """Embed a set with a finished run and save one layer as Parquet. What must be decoded is embedded meanwhile."""
    config, size = read_config(run), image_size(run)
    model, chosen = open_run(run, (3, size, size), layer=layer, device=device)
    embed = one_layer(model, chosen, compiled=compiled)
    with Beside(embed) as beside:
        # Not where images are left out after they have been decoded, nor where what is embedded together matters.
        apart = subset is None and isinstance(model, JointEmbedding)
        ahead: dict[str, Watch] = {"watch": beside.add} if apart else {}
        splits = _splits(data, labels, size, strict, subset, progress, say, **ahead)

        def of(items: ImageSet) -> dict[str, NDArray[np.float32]]:
            known = beside.vectors(items.ids)
            return {chosen: embed(items.images) if known is None else known}

        about = {**config, "run": run.name} | ({"compiled": True} if compiled else {})
        made = embed_splits(of, splits, about, None)[chosen]
    claim(out.parent)
    made.save(out)
    return made


def embed_bulk(
    run: Path,
    data: str,
    out: Path,
    *,
    layer: str | None,
    labels: Path | None,
    subset: int | None,
    strict: bool,
    device: str,
    engine: str,
    progress: bool,
    compiled: bool = False,
) -> Summary:
    """Embed a set of any size into a folder of Parquet files, a part each; parts that are there stay.

    Under torchrun every rank calls this and takes its share.

    Raises:
        ConfigError: unknown engine or layer, or ``out`` holds other vectors. DataError, OutputError: see :func:`embed_parts`.
    """
    check_engine(engine)
    size, here = image_size(run), ranks.number()
    place = Path(data).expanduser()
    # Workers of a cluster need not be in this folder.
    found = str(place.absolute()) if not is_shards(data) and place.exists() else data
    source = Source(found, labels and labels.absolute(), size, strict, subset, progress and here == 0)
    if is_shards(data) and (labels is not None or subset is not None):
        raise ConfigError(f"--labels and --subset are for sets without shards; {data} brings its own labels.")
    _, chosen = open_run(run, (3, size, size), layer=layer, device="cpu")
    weights = run / WEIGHTS
    identity = read_config(run) | {"run": run.name, "layer": chosen}
    if compiled:  # its vectors differ by rounding: parts of one folder are made alike
        identity["compiled"] = True
    identity["weights"] = file_digest(weights) if weights.exists() else None
    if not is_shards(data):
        identity |= {"embedded": data, "subset": subset}
    if any((out / name).exists() for name in ("config.json", "study.json")):
        raise ConfigError(f"{out} is the folder of a run or study; vectors need one of their own. Choose another -o.")
    work = Work(run.resolve(), out.resolve(), chosen, size, identity, strict)
    job = Job(work, device, engine, here, ranks.launched(), progress, compiled)
    with exclusive(out) if here == 0 else nullcontext():  # the other ranks' parts are their own
        return embed_parts(job, parts_of(source))


@dataclass(frozen=True)
class Files:
    """Image files, embedded.

    Attributes:
        names: as given; for a folder, the paths of its files. images: uint8 (M, 3, S, S), as the encoder saw them.
        Z: float32 (M, D). skipped: unreadable files of folders.
    """

    names: tuple[str, ...]
    images: NDArray[np.uint8]
    Z: NDArray[np.float32]
    layer: str
    skipped: tuple[Skipped, ...] = ()


def embed_files(run: Path, paths: Sequence[Path], *, layer: str | None, device: str, like: dict[str, Any]) -> Files:
    """Embed image files, and the image files in folders, with a finished run.

    Args:
        like: provenance of the embeddings that these vectors are to be compared with. It names the layer, where ``layer``
            is None, and another method, seed or settings than the run's are refused.
    Raises:
        ConfigError: the run is not the one of ``like``, has no such layer, or its image size cannot be found.
        DataError: no run there, an unreadable file, a folder without readable images.
    """
    config = read_config(run)
    for name in ("method", "seed", "settings"):
        if name in like and name in config and like[name] != config[name]:
            raise ConfigError(
                f"--run {run} is {config['method']} with seed {config['seed']}, but the embeddings were made with another "
                f"{name}: vectors of two runs cannot be compared. Give the run that made them."
            )
    names, decoded, skipped = read_images(paths)
    size = image_size(run)
    images = np.stack([to_square(image, size) for image in decoded])
    model, chosen = open_run(run, (3, size, size), layer=layer, device=device)
    if layer is None and like.get("layer") in model.layers:
        chosen = like["layer"]
    return Files(tuple(names), images, model.embed(images, (chosen,))[chosen], chosen, tuple(skipped))


def embed_images(run: Path, images: NDArray[np.uint8], layer: str | None, device: str) -> NDArray[np.float32]:
    """Vectors float32 (N, D) of images uint8 (N, 3, S, S), already in memory, by a finished run.

    Raises:
        DataError: no run there, or one of images of another size. ConfigError: unknown layer.
    """
    size = images.shape[-1]
    if image_size(run) != size:
        raise DataError(f"{run} was trained on images of side {image_size(run)}; these have side {size}.")
    return embedder(run, (3, size, size), layer=layer, device=device)(images)
