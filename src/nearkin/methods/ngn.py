"""NGN (No Generated Neighbours): VICReg whose positives are real images, nearest neighbours, instead of augmentations.

The reference study's question: is the encoder good because augmentations generate neighbours that are surely of the same
content? For every training image its k nearest neighbours under a frozen representation are found once (exact search);
in each step one of them, at random, is the second view. Nothing is augmented. The loss is VICReg's (vicreg.py).

Two things change at once against VICReg: positives may be of another class (neighbour purity says how often), and no
invariance to crop, colour and flip is taught. The options separate them: ``augment`` adds the augmentations back,
``neighbors_same_class`` and ``neighbors_from=labels`` (oracles) make the purity 1, with the nearest images of the class and with
any of them, ``neighbors_from=pixels`` needs no trained net,
``neighbors_metric`` is the study's suspect (L2) against cosine, ``refresh_epochs`` renews the neighbours under the net
that is being trained.

Held-out positives (validation and test losses) are an image's nearest training image under the same features; with the
oracle, under raw pixels, because labels of held-out images enter nowhere.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nearkin.augment import make_views, normalize
from nearkin.errors import ConfigError, unknown
from nearkin.fileio import write_json
from nearkin.methods.base import FitContext
from nearkin.methods.neighborhood import (
    Features,
    frozen_features,
    pixel_features,
    purity,
    same_class,
    shared_features,
    train_neighbors,
    train_neighbors_in_class,
)
from nearkin.methods.vicreg import VICRegMethod
from nearkin.search.exact import METRICS, knn
from nearkin.train import ranks
from nearkin.train.batches import Batches
from nearkin.train.checkpoint import load_tensors, save_tensors
from nearkin.train.record import MetricsLog

NEIGHBORS = "neighbors.safetensors"


class NGNMethod(VICRegMethod):
    """NGN. Settings: VICReg's, and the following.

    neighbors_from: "vicreg" (the study's run), a run folder, "pixels" or "labels". neighbors_k: k (3 in the study).
    neighbors_metric: "l2" or "cosine". neighbors_same_class: the nearest of the image's own class (reads labels).
    augment: also augment both images. refresh_epochs: 0 = never.
    """

    most_views = 2
    defaults: ClassVar[dict[str, Any]] = VICRegMethod.defaults | {
        "neighbors_from": "vicreg",
        "neighbors_k": 3,
        "neighbors_metric": "l2",
        "neighbors_same_class": False,
        "augment": False,
        "refresh_epochs": 0,
    }

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        super().__init__(settings, image_shape)
        s = self.settings
        if s["neighbors_metric"] not in METRICS:
            raise unknown("neighbors_metric", s["neighbors_metric"], METRICS)
        if s["neighbors_k"] < 1 or s["refresh_epochs"] < 0:
            raise ConfigError("neighbors_k must be at least 1 and refresh_epochs at least 0.")
        if s["neighbors_same_class"] and s["neighbors_from"] == "labels":
            raise ConfigError(
                "neighbors_from=labels takes any images of the class, neighbors_same_class the nearest; choose one."
            )
        self._features: Features = pixel_features

    def prepare(self, context: FitContext) -> None:
        """Compute the features that neighbours are found under."""
        s = self.settings
        train = context.splits.train
        if s["neighbors_k"] >= len(train):
            raise ConfigError(
                f"neighbors_k is {s['neighbors_k']}; with {len(train)} training images it must be smaller."
            )
        self._run_dir, self._seed, self._train = context.folder, context.seed, train
        self._fetch = Batches(train.images, self.fabric.device)
        shape: tuple[int, int, int] = (3, self.image_size, self.image_size)
        if s["neighbors_from"] != "labels":
            self._features = frozen_features(s["neighbors_from"], context.runs, shape, self.fabric.device.type)
        self._train_features = shared_features(self._features, train.images)
        self._epoch = -1

    def before_epoch(self, epoch: int) -> None:
        """Renew the neighbours where ``refresh_epochs`` says so; the table on disk makes a resume exact."""
        every = self.settings["refresh_epochs"]
        due = epoch // every * every if every else 0
        if due == self._epoch:
            return
        path = self._run_dir / NEIGHBORS
        stored = ranks.from_lead(self._stored(path, due) if ranks.rank() == 0 else None)
        if stored is not None:
            self._neighbors, self._epoch = stored, due
            return
        self._neighbors, self._epoch = self._find(due), due
        if ranks.rank():
            return
        share = purity(self._neighbors, self._train.labels)
        write_json(self._run_dir / "neighbors.json", {"purity": share, "k": self.settings["neighbors_k"], "epoch": due})
        record = MetricsLog(self._run_dir / "neighbors.jsonl")
        if due not in {line["epoch"] for line in record.read(kind="neighbors")}:  # a kill may have come after this line
            record.append({"kind": "neighbors", "epoch": due, "purity": share})
        # The table comes last: where it is, the others are.
        save_tensors(
            path, {"neighbors": torch.from_numpy(self._neighbors)}, {"epoch": due, "fingerprint": self._digest()}
        )

    def _stored(self, path: Path, due: int) -> NDArray[np.int64] | None:
        """The neighbours of epoch ``due`` that an interrupted run has left, or None."""
        if not path.exists():
            return None
        tensors, meta = load_tensors(path)
        if meta["epoch"] != due or meta["fingerprint"] != self._digest():
            return None
        out: NDArray[np.int64] = tensors["neighbors"].numpy()
        return out

    def _digest(self) -> str:
        return f"{len(self._train)}:{self._train.ids[0]}:{self._train.ids[-1]}"

    def _find(self, epoch: int) -> NDArray[np.int64]:
        s = self.settings
        if s["neighbors_from"] == "labels":
            return same_class(self._train, s["neighbors_k"], self._seed + epoch)
        features = self._train_features
        if epoch > 0:
            layer = self.primary_layer
            features = shared_features(lambda images: self.embed(images, (layer,))[layer], self._train.images)
            self.net.train()
        if s["neighbors_same_class"]:
            return train_neighbors_in_class(features, s["neighbors_k"], s["neighbors_metric"], self._train)
        return train_neighbors(features, s["neighbors_k"], s["neighbors_metric"])

    def _views(self, images: Tensor, others: Tensor, rng: torch.Generator) -> list[Tensor]:
        if self.settings["augment"]:
            return [make_views(x, self.recipe, rng, n_views=1)[0] for x in (images, others)]
        return [normalize(x, self.recipe) for x in (images, others)]

    def make_pair(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> list[Tensor]:
        pick = torch.randint(self._neighbors.shape[1], (len(rows),), generator=rng, device=rng.device)
        others = self._neighbors[rows.cpu().numpy(), pick.cpu().numpy()]
        return self._views(images, self._fetch(others), rng)

    def held_out_pair(self, images: Tensor, rng: torch.Generator) -> list[Tensor]:
        queries = self._features(images.cpu().numpy())
        metric = self.settings["neighbors_metric"]
        nearest = knn(queries, self._train_features, 1, metric=metric).indices[:, 0]
        return self._views(images, self._fetch(nearest), rng)
