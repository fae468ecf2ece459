"""Joint embedding of two views: what VICReg and its relatives share (encoder, projector, views, embedding)."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearkin.augment import get_recipe, make_views, normalize
from nearkin.errors import ConfigError, TrainingError, one_line, unknown
from nearkin.evaluate.health import alignment, health
from nearkin.fileio import to_json
from nearkin.folders import METRICS, SNAPSHOTS, WEIGHTS
from nearkin.methods.base import FitContext, Method, resolve, train_config
from nearkin.nets import Encoder, create_encoder, projector
from nearkin.nets.encoder import STEMS, set_axes
from nearkin.train.checkpoint import load_tensors
from nearkin.train.config import TrainConfig
from nearkin.train.device import make_fabric
from nearkin.train.diagnose import diagnose
from nearkin.train.loop import ADVICE, trained
from nearkin.train.optim import make_optimizers
from nearkin.train.record import MetricsLog
from nearkin.train.seeding import derive, generator
from nearkin.vectors import sample_rows

_EVAL_IMAGES = 2048  # held-out images used for losses and health
_KNN_BANK = 10_000  # training images the monitoring kNN probe looks at
_EMBED_BATCH = 512
_STEM_IMAGES = 2000  # evenly spaced training images whose patches a stem of axes comes from


class JointNet(nn.Module):
    """Encoder and projector. Maps (B, 3, S, S) to projections (B, P)."""

    def __init__(self, encoder_name: str, widths: tuple[int, ...], image_size: int) -> None:
        super().__init__()
        self.encoder = create_encoder(encoder_name, image_size)
        self.projector = projector(self.encoder.out_features, widths)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.projector(self.encoder(x))
        return out

    def layers(self, x: Tensor) -> dict[str, Tensor]:
        """Every layer by name: the encoder's, and "projector"."""
        named = self.encoder.layers(x)
        return named | {"projector": self.projector(named[self.encoder.primary_layer])}


class JointEmbedding(Method):
    """Base of the methods that pull views of an image together. Subclasses give ``views_loss``.

    Settings: encoder (name), projector (widths), stem ("random", or "axes": :func:`nearkin.nets.encoder.set_axes`), recipe
    (views), n_views, and every field of TrainConfig.
    ``most_views``: the largest legal n_views, None for any number from 2.
    """

    one_by_one = True
    most_views: ClassVar[int | None] = None

    defaults: ClassVar[dict[str, Any]] = {
        "encoder": "fast",
        "projector": (1024, 1024),
        "stem": "random",
        "recipe": "reference",
        "n_views": 2,
    }

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        self.settings = resolve(self.defaults, settings)
        self.config: TrainConfig = train_config(self.settings)
        self.recipe = get_recipe(self.settings["recipe"])
        if self.settings["stem"] not in STEMS:
            raise unknown("stem", self.settings["stem"], STEMS)
        if image_shape[1] != image_shape[2]:
            raise ConfigError(f"images must be square; got {image_shape[1]} x {image_shape[2]}.")
        n_views, most = self.settings["n_views"], self.most_views
        if n_views < 2 or (most is not None and n_views > most):
            legal = "at least 2" if most is None else f"{most}, which is what {type(self).__name__}'s loss is made for"
            raise ConfigError(f"n_views is {n_views}; it must be {legal}.")
        self.image_size = image_shape[1]
        self._build(seed=0)

    def _build(self, seed: int) -> None:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(seed, "init"))
            self.net: nn.Module = self.make_net()
        self._compiled: dict[bool, Callable[[Tensor], dict[str, Tensor]]] = {}

    def _start(self, images: NDArray[np.uint8], seed: int) -> None:
        """Build the net as it is before the first step: random weights, and the stem that the settings ask for."""
        self._build(seed)
        if self.settings["stem"] == "random":
            return
        rows = np.linspace(0, len(images) - 1, min(_STEM_IMAGES, len(images))).astype(np.int64)
        x = normalize(torch.from_numpy(images[rows]), self.recipe)
        for encoder in [module for module in self.net.modules() if isinstance(module, Encoder)]:  # BYOL has two
            set_axes(encoder, x)

    def make_net(self) -> JointNet:
        """The net with fresh random weights."""
        return JointNet(self.settings["encoder"], self.settings["projector"], self.image_size)

    @property
    def joint(self) -> JointNet:
        """The net with its layers."""
        assert isinstance(self.net, JointNet)
        return self.net

    @property
    def primary_layer(self) -> str:
        """The layer downstream work should use."""
        return self.joint.encoder.primary_layer

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of all layers that :meth:`embed` returns."""
        return (*self.joint.encoder.layer_names, "projector")

    def views_loss(self, zs: list[Tensor], rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Projections (B, P) of each view -> scalar loss and detached scalars to log. ``rng`` for losses that sample."""
        raise NotImplementedError

    def make_pair(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> list[Tensor]:
        """uint8 (B, 3, H, W), rows int64 (B,) of the training set -> the positives: V views, float (B, 3, H, W)."""
        return make_views(images, self.recipe, rng, n_views=self.settings["n_views"], compiled=self.config.compile)

    def held_out_pair(self, images: Tensor, rng: torch.Generator) -> list[Tensor]:
        """Like :meth:`make_pair` for images that are not in the training set."""
        return make_views(images, self.recipe, rng, n_views=self.settings["n_views"])

    def project(self, views: list[Tensor]) -> list[Tensor]:
        """Views (B, 3, H, W) -> projections (B, P) of each, in one pass for all."""
        with self.fabric.autocast():
            z = self.net(torch.cat(views).contiguous(memory_format=torch.channels_last))
        return list(z.chunk(len(views)))

    def loss_of_views(
        self, views: list[Tensor], rng: torch.Generator, rows: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        """Views (B, 3, H, W) -> loss, detached scalars, and the projections of each view.

        ``rows``: int64 (B,), the images' rows in the training set, for methods with a target per image; None for images
        that are not in it.
        """
        zs = self.project(views)
        loss, terms = self.views_loss(zs, rng)
        return loss, terms, zs

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """uint8 (B, 3, H, W) and their rows in the training set -> loss of fresh views."""
        loss, terms, _ = self.loss_of_views(self.make_pair(images, rows, rng), rng, rows)
        return loss, terms

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The optimisers of the net, as the settings say."""
        return make_optimizers(self.net, self.config)

    def prepare(self, context: FitContext) -> None:
        """Compute what the first step needs (neighbours, schedules). Called by :meth:`fit`."""

    def fit(self, context: FitContext) -> None:
        """Train on the training images, resuming in the folder; return at once when it is finished.

        Labels are used for the monitoring kNN probe on validation images only.
        """
        self.fabric = make_fabric(context.device, self.config.precision)
        context.folder.mkdir(parents=True, exist_ok=True)
        if trained(context.folder):
            self.load(context.folder, context.device)
            self.prepare(context)
            return
        self._start(context.splits.train.images, context.seed)
        self.prepare(context)
        context.train(self, self.config, self.fabric, _Monitor(self, context))
        self.net.eval()

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Load the weights that :meth:`fit` wrote."""
        self.fabric = make_fabric(device, self.config.precision)
        tensors, _ = load_tensors(folder / WEIGHTS)
        self.net.load_state_dict(tensors)
        self.net.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net.eval()

    def compile_embedding(self, layer: str) -> None:
        """Compile the layer's forward pass (torch.compile); see :meth:`Method.compile_embedding`."""
        projector = layer == "projector"
        self._compiled[projector] = torch.compile(self._layers(projector), dynamic=False)
        try:
            self.embed(np.zeros((1, 3, self.image_size, self.image_size), dtype=np.uint8), (layer,))
        except Exception as error:  # whatever a compiler may raise
            del self._compiled[projector]
            raise ConfigError(
                f"--compile failed ({one_line(error)[:200]}). On a CPU it needs a C++ compiler; without --compile embedding is slower."
            ) from error

    def _layers(self, projector: bool) -> Callable[[Tensor], dict[str, Tensor]]:
        """Images (B, 3, H, W) -> vectors by layer, compiled if that was asked for; the projector's only on demand."""
        plain = self.joint.layers if projector else self.joint.encoder.layers
        return self._compiled.get(projector, plain)

    @torch.no_grad()
    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, H, W) -> {layer: float32 (N, width)}, one un-augmented view, net in eval mode."""
        wanted = layers or self.layers
        self.net.eval()
        projector = "projector" in wanted
        named_layers = self._layers(projector)
        out: dict[str, list[NDArray[np.float32]]] = {name: [] for name in wanted}
        for start in range(0, len(images), _EMBED_BATCH):
            part = np.array(images[start : start + _EMBED_BATCH])
            size = len(part)
            if projector in self._compiled and size < _EMBED_BATCH:  # another size would be compiled anew
                part = np.concatenate([part, np.zeros((_EMBED_BATCH - size, *part.shape[1:]), dtype=np.uint8)])
            batch = torch.from_numpy(part).to(self.fabric.device)
            x = normalize(batch, self.recipe).contiguous(memory_format=torch.channels_last)
            with self.fabric.autocast():
                named = named_layers(x)
            for name in wanted:
                out[name].append(named[name][:size].float().cpu().numpy())
        return {name: np.concatenate(parts) for name, parts in out.items()}

    @torch.no_grad()
    def held_out_losses(self, images: NDArray[np.uint8], seed: int) -> tuple[dict[str, float], NDArray[np.float32]]:
        """Mean loss terms over batches of held-out images (eval mode, fixed views), and the projections (V, M, P)."""
        size = min(self.config.batch_size, len(images))
        rows: list[dict[str, float]] = []
        projections: list[Tensor] = []
        for k in range(len(images) // size):
            batch = torch.from_numpy(np.array(images[k * size : (k + 1) * size])).to(self.fabric.device)
            rng = generator(self.fabric.device, seed, "eval", k)
            loss, terms, zs = self.loss_of_views(self.held_out_pair(batch, rng), rng)
            rows.append({"loss": float(loss)} | {name: float(value) for name, value in terms.items()})
            projections.append(torch.stack(zs).float().cpu())
        means = {name: float(np.mean([row[name] for row in rows])) for name in rows[0]}
        return means, torch.cat(projections, dim=1).numpy()

    def test_losses(self, context: FitContext) -> None:
        """Append {"kind": "test"} lines from the stored snapshots, then delete those. Only after training."""
        test, seed = context.splits.test, context.seed
        record = MetricsLog(context.folder / METRICS)
        folder = context.folder / SNAPSHOTS
        done = {line["epoch"] for line in record.read(kind="test")}
        # A shuffle as for validation: sets come sorted by class, and a batch of one class is no fair sample.
        pick = sample_rows(len(test), _EVAL_IMAGES, derive(seed, "eval"), shuffled=True)
        for path in sorted(folder.glob("epoch-*.safetensors")):
            tensors, meta = load_tensors(path)
            if meta["epoch"] not in done:
                self.net.load_state_dict(tensors)
                self.net.eval()
                means, _ = self.held_out_losses(test.images[pick], seed)
                record.append({"kind": "test", "epoch": meta["epoch"]} | means)
            path.unlink()
        if folder.exists():
            folder.rmdir()
        self.load(context.folder, self.fabric.device.type)


class _Monitor:
    """Held-out losses, label-free health, the kNN probe and the diagnosis after each evaluated epoch.

    A diagnosis that differs from the one before is told on stderr: hours of training should not hide a collapse.
    """

    def __init__(self, method: JointEmbedding, context: FitContext) -> None:
        self.method, self.seed, self.title = method, context.seed, context.title or "training"
        self.state: str | None = None
        self.record = MetricsLog(context.folder / METRICS)
        splits, pick = context.splits, np.random.default_rng(derive(context.seed, "eval"))
        # A shuffle, because sets come sorted by class, and a batch of one class is no fair sample.
        self.val = splits.val.take(sample_rows(len(splits.val), _EVAL_IMAGES, pick))
        self.order = pick.permutation(len(self.val))
        self.bank = splits.train.take(sample_rows(len(splits.train), _KNN_BANK, pick))

    def __call__(self, epoch: int, seconds: float) -> None:
        means, projections = self.method.held_out_losses(self.val.images[self.order], self.seed)
        layer = self.method.primary_layer
        z = self.method.embed(self.val.images, (layer,))[layer]
        if not np.isfinite(z).all():
            step = self.record.read(kind="step")[-1]["step"]
            raise TrainingError(
                f"features became non-finite by step {step}; the checkpoint before it is kept, where there is one. "
                f"{ADVICE}"
            )
        measured = to_json(health(z))
        every = projections.reshape(-1, projections.shape[-1])
        line: dict[str, Any] = {"kind": "epoch", "epoch": epoch, "split": "val", "seconds": seconds} | means
        line |= measured | {"dim": z.shape[1], "projector_std": float(every.std(axis=0).mean())}
        line["alignment"] = alignment(projections[0], projections[1])
        if self.val.labels is not None and self.bank.labels is not None:
            from nearkin.evaluate.knn import knn_accuracy

            bank = self.method.embed(self.bank.images, (layer,))[layer]
            line["knn"] = knn_accuracy(bank, self.bank.labels, z, self.val.labels, k=20)
        self.record.append(line)
        state, message = diagnose(self.record.read(kind="epoch", split="val"), len(self.record.read(kind="step")))
        if self.state is None:  # a resumed run has told its state already
            before = self.record.read(kind="diagnosis")
            self.state = before[-1]["state"] if before else "healthy"
        if state != self.state:
            self.state = state
            print(f"{self.title}, epoch {epoch}: {state}. {message}", file=sys.stderr)
        self.record.append({"kind": "diagnosis", "epoch": epoch, "state": state, "message": message})
