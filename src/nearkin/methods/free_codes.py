"""Free codes: no encoder at all. One free vector per image, trained by VICReg's terms on pairs of neighbours.

The fourth cell of the 2x2 of {shared encoder, code per image} x {augmentations, neighbours}: VICReg has an encoder and
augmentations, NGN an encoder and neighbours, LO codes and augmentations, this codes and neighbours. With Z the table of
codes and n(i) a random one of image i's k nearest neighbours (found as for NGN, by frozen features):

    loss = invariance(z_i, z_n(i)) + variance + covariance over the batch            (vicreg.py)

It is a stochastic relative of Laplacian eigenmaps: the invariance term is the graph's smoothness f' L f, variance and
covariance stand for the constraint of uncorrelated unit-variance columns. Pixels are never seen by the loss.

An image outside the training set gets the mean of its k nearest training images' codes. Only the batch's rows (and their
neighbours) move in a step: the optimiser is torch's SparseAdam.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearkin.data.imageset import ImageSet, fingerprint
from nearkin.errors import ConfigError, DataError
from nearkin.fileio import read_json, write_json
from nearkin.folders import METRICS, WEIGHTS
from nearkin.methods.base import FitContext, Method, resolve, train_config
from nearkin.methods.neighborhood import Features, frozen_features, pixel_features, same_class, train_neighbors
from nearkin.methods.vicreg import VICRegMethod, vicreg_terms
from nearkin.search.exact import knn
from nearkin.train import ranks
from nearkin.train.checkpoint import load_tensors
from nearkin.train.device import make_fabric
from nearkin.train.loop import trained
from nearkin.train.record import MetricsLog
from nearkin.train.seeding import derive

OWNER = "codes.json"


class CodeTable(nn.Module):
    """N codes of width D, standard normal at first; row gradients are sparse."""

    def __init__(self, n: int, dim: int) -> None:
        super().__init__()
        self.table = nn.Embedding(n, dim, sparse=True)

    def forward(self, rows: Tensor) -> Tensor:
        out: Tensor = self.table(rows)
        return out


def sparse_adam(table: nn.Module, lr: float) -> torch.optim.Optimizer:
    """Adam that touches only the rows that had a gradient (dense Adam moves absent rows through momentum)."""
    optimizer = torch.optim.SparseAdam(list(table.parameters()), lr=lr)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer


class FreeCodesMethod(Method):
    """Settings: code_dim (128), code_lr (0.02), neighbors_from, neighbors_k, neighbors_metric, VICReg's weights."""

    defaults: ClassVar[dict[str, Any]] = {
        name: VICRegMethod.defaults[name]
        for name in ("invariance_weight", "variance_weight", "covariance_weight", "gamma", "epsilon", "convention")
    } | {
        "code_dim": 128,
        "code_lr": 0.02,
        "neighbors_from": "vicreg",
        "neighbors_k": 3,
        "neighbors_metric": "l2",
    }
    primary_layer = "codes"
    layers = ("codes",)

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        self.settings = resolve(self.defaults, settings)
        self.config = dataclasses.replace(train_config(self.settings), keep=0)  # snapshots serve test losses only
        self.shape = image_shape
        self._features: Features = pixel_features

    def fit(self, context: FitContext) -> None:
        """Train the table, resuming in the folder."""
        s, train_set, folder = self.settings, context.splits.train, context.folder
        if not 1 <= s["neighbors_k"] < len(train_set):
            raise ConfigError(
                f"neighbors_k is {s['neighbors_k']}; with {len(train_set)} images: 1..{len(train_set) - 1}."
            )
        claim_codes(train_set, folder)
        self.fabric = make_fabric("cpu", "fp32")  # a table lookup gains nothing on a GPU
        if s["neighbors_from"] != "labels":
            self._features = frozen_features(s["neighbors_from"], context.runs, self.shape, context.device)
        self._train_features = self._features(train_set.images)
        if not trained(folder):
            if s["neighbors_from"] == "labels":
                self._neighbors = same_class(train_set, s["neighbors_k"], context.seed)
            else:
                self._neighbors = train_neighbors(self._train_features, s["neighbors_k"], s["neighbors_metric"])
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(derive(context.seed, "init"))
                self.net = CodeTable(len(train_set), s["code_dim"])
            record = MetricsLog(folder / METRICS)

            def monitor(epoch: int, seconds: float) -> None:
                z = self.net.table.weight.detach().numpy()
                std = float(z.std(axis=0).mean())
                record.append(
                    {"kind": "epoch", "epoch": epoch, "split": "val", "seconds": seconds, "projector_std": std}
                )

            context.train(self, self.config, self.fabric, monitor)
        codes = load_tensors(folder / WEIGHTS)[0]["table.weight"]
        check_codes(codes, len(train_set), folder)
        self._codes: NDArray[np.float32] = codes.numpy()

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Refused: codes belong to their training images. Raises ConfigError."""
        raise ConfigError("free codes embed the images of their own study only; there is no encoder to reuse.")

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """SparseAdam on the table."""
        return [sparse_adam(self.net.table, self.settings["code_lr"])]

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Codes of the rows against codes of one neighbour each. The images are not looked at."""
        s = self.settings
        pick = torch.randint(self._neighbors.shape[1], (len(rows),), generator=rng)
        others = torch.from_numpy(self._neighbors[rows.numpy(), pick.numpy()])
        z1, z2 = self.net(torch.cat([rows, others])).chunk(2)
        terms = vicreg_terms(z1, z2, gamma=s["gamma"], epsilon=s["epsilon"], convention=s["convention"])
        weighted = [s[f"{name}_weight"] * term for name, term in terms._asdict().items()]
        return torch.stack(weighted).sum(), {name: term.detach() for name, term in terms._asdict().items()}

    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, H, W) -> {"codes": float32 (N, code_dim)}: the mean of the k nearest training images' codes.

        Training images too are embedded by their neighbours (themselves among them), so that a probe is fitted on the
        kind of code that it is tested on.
        """
        queries = self._features(images)
        found = knn(
            queries, self._train_features, self.settings["neighbors_k"], metric=self.settings["neighbors_metric"]
        )
        return {"codes": self._codes[found.indices].mean(axis=1)}


def claim_codes(train: ImageSet, run_dir: Path) -> None:
    """Write down in codes.json which images the codes of ``run_dir`` belong to, or check it.

    Raises:
        DataError: the codes there are another set's, however many images it has.
    """
    path, own = run_dir / OWNER, fingerprint(ImageSet(train.images, train.ids))
    if path.exists():
        if read_json(path)["images"] != own:
            raise DataError(f"{run_dir} holds codes of other training images (see {path.name}). Choose another -o.")
    elif ranks.rank() == 0 and not (run_dir / WEIGHTS).exists():
        run_dir.mkdir(parents=True, exist_ok=True)
        write_json(path, {"images": own})


def check_codes(codes: Tensor, n: int, run_dir: Path) -> None:
    """Raise DataError when the codes of a finished run belong to another number of images."""
    if len(codes) != n:
        raise DataError(
            f"{run_dir / WEIGHTS} holds codes of {len(codes)} images; this data set has {n} training images."
        )
