"""LO (Latent Optimization): a code per image instead of an encoder.

The question: how much of the representation's quality comes from amortisation, the encoder that must give similar images
similar codes because it is one smooth function? Here every training image i has a free code z_i, shared by all its views,
so invariance is trivial, and white random codes already satisfy variance and covariance. What ties codes to images is
reconstruction: a decoder G draws each augmented view from the code and the view's parameters c,

    loss = reconstruction_weight * Lap1(G(z_i, c), view_c(x_i)) + variance_weight * v(Z) + covariance_weight * c(Z)

with Lap1 the Laplacian-pyramid L1 (pyramid_l1) and v, c VICReg's terms on the batch's codes (vicreg.py). As in GLO
(Bojanowski et al. 2018) the codes learn faster than the decoder. Deviations from GLO: no unit ball, which contradicts a
standard deviation of 1 per dimension; only the batch's rows move (SparseAdam).

``code_per="view"`` is the naive form that the study warns of: two fixed views per image, a free code for each, the decoder
unconditioned, and VICReg's invariance term between the two codes. Nothing makes codes of similar images similar.

Codes of new images (test, and the training images again, so that the probe sees one kind of code): the decoder is frozen
and codes are optimised from the mean code on the un-augmented view, by reconstruction alone; no variance or covariance
term, which would make it transductive. The layer "codes".

The layer "distilled": a feed-forward encoder trained to predict the codes of training images from augmented views
(mean squared error of standardised codes), then used on un-augmented images; "distilled-backbone" is its feature layer.
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

from nearkin.augment import ViewParameters, get_recipe, normalize, render, sample_view
from nearkin.errors import ConfigError, unknown
from nearkin.folders import METRICS, WEIGHTS
from nearkin.methods.base import FitContext, Method, resolve, train_config
from nearkin.methods.free_codes import CodeTable, check_codes, claim_codes, sparse_adam
from nearkin.methods.joint import JointEmbedding
from nearkin.methods.vicreg import vicreg_terms
from nearkin.nets.heads import Decoder
from nearkin.train.checkpoint import load_tensors
from nearkin.train.device import make_fabric
from nearkin.train.loop import step_bar, trained
from nearkin.train.optim import make_optimizers
from nearkin.train.record import MetricsLog
from nearkin.train.seeding import derive, generator

CODE_FORMS = ("image", "view")
CONDITIONS = 6  # brightness, contrast, saturation, hue, gray, solarize; crop and flip enter as positions
_INFER_BATCH = 512
_CODES = "codes.table.weight"


def laplacian_pyramid(x: Tensor, levels: int = 3) -> list[Tensor]:
    """(B, C, H, W) -> ``levels`` band-pass images and the remaining low-pass one, by 2x2 means and bilinear expansion."""
    out = []
    for _ in range(levels):
        if min(x.shape[-2:]) < 2:
            break
        low = torch.nn.functional.avg_pool2d(x, 2, ceil_mode=True)
        expanded = torch.nn.functional.interpolate(low, size=x.shape[-2:], mode="bilinear", align_corners=False)
        out.append(x - expanded)
        x = low
    return [*out, x]


def pyramid_l1(a: Tensor, b: Tensor, levels: int = 3) -> Tensor:
    """Laplacian-pyramid L1 per image, (B,): the sum over levels of the mean absolute difference. It sees edges at several scales.

    Bojanowski, Joulin, Lopez-Paz, Szlam: "Optimizing the Latent Space of Generative Networks" (GLO), ICML 2018, equation 3:
    sum_j 2^(2j) |L_j(x) - L_j(x')|_1 with L_j the j-th level. Level j has 4^-j as many pixels, so the factor makes every
    level's mean count alike; here the sum of the levels' means is used, which is that divided by the number of pixels. The
    pyramid is linear, so one of the difference is enough.
    """
    difference = laplacian_pyramid(a.float() - b.float(), levels)
    return torch.stack([level.abs().mean(dim=(1, 2, 3)) for level in difference]).sum(dim=0)


def conditions(parameters: ViewParameters) -> Tensor:
    """A view's changes of colour as the decoder gets them: float32 (B, 6), about 0 for no change."""
    j = parameters.jitter
    columns = [j.brightness - 1, j.contrast - 1, j.saturation - 1, 5 * j.hue]
    columns += [parameters.gray.float(), torch.isfinite(parameters.threshold).float()]
    return torch.stack([c.float() for c in columns], dim=1)


def positions(parameters: ViewParameters, height: int, width: int) -> Tensor:
    """Left, top, right, bottom of each view in [-1, 1], float32 (B, 4); left and right change places under a flip."""
    top, left, h, w = parameters.boxes.float().unbind(dim=1)
    x0, x1 = 2 * left / width - 1, 2 * (left + w) / width - 1
    y0, y1 = 2 * top / height - 1, 2 * (top + h) / height - 1
    return torch.stack([torch.where(parameters.flip, x1, x0), y0, torch.where(parameters.flip, x0, x1), y1], dim=1)


class LONet(nn.Module):
    """The table of codes and the decoder. With a code per view, rows 2 i and 2 i + 1 belong to image i."""

    def __init__(self, n: int, code_dim: int, image_size: int, width: int) -> None:
        super().__init__()
        self.codes = CodeTable(n, code_dim)
        self.decoder = Decoder(code_dim, CONDITIONS, image_size, width)


class Distilled(JointEmbedding):
    """An encoder that learns to predict given codes (N, D) of the training images from augmented views."""

    defaults: ClassVar[dict[str, Any]] = JointEmbedding.defaults

    def __init__(self, settings: dict[str, Any], codes: Tensor, image_size: int) -> None:
        own = {name: settings[name] for name in settings if name in resolve(self.defaults, {})}
        own |= {"epochs": settings["distill_epochs"], "projector": (codes.shape[1],), "keep": 0}
        super().__init__(own, (3, image_size, image_size))
        std = codes.std(dim=0).clamp(min=1e-6) if len(codes) > 1 else torch.ones(codes.shape[1])
        self._targets = (codes - codes.mean(dim=0)) / std

    def loss_of_views(
        self, views: list[Tensor], rng: torch.Generator, rows: Tensor | None = None
    ) -> tuple[Tensor, dict[str, Tensor], list[Tensor]]:
        zs = self.project(views)
        return *self.loss_of_predictions(zs, rows), zs

    def loss_of_predictions(self, zs: list[Tensor], rows: Tensor | None) -> tuple[Tensor, dict[str, Tensor]]:
        """Predictions (B, D) of both views -> squared error to the codes of ``rows``, and how far the two lie apart.

        Held-out images (``rows`` None) have no codes: there the loss is how far the two lie apart.
        """
        apart = (zs[0].float() - zs[1].float()).square().mean()
        if rows is None:
            return apart, {"views_apart": apart.detach()}
        target = self._targets[rows.cpu()].to(zs[0].device)
        loss = torch.stack([(z.float() - target).square().mean() for z in zs]).mean()
        return loss, {"views_apart": apart.detach()}


class LatentOptimizationMethod(Method):
    """Settings: code_dim (128), code_lr, code_per ("image" or "view"), decoder_width, reconstruction_weight,
    variance_weight, covariance_weight, invariance_weight (naive form only), infer_steps, infer_lr, distill_epochs (0: no
    distilled encoder), encoder, recipe, and those of training.
    """

    defaults: ClassVar[dict[str, Any]] = {
        "encoder": "fast-tiny",
        "recipe": "simple",
        "code_dim": 128,
        "code_lr": 0.3,
        "code_per": "image",
        "decoder_width": 128,
        "reconstruction_weight": 10.0,
        "invariance_weight": 25.0,
        "variance_weight": 1.0,
        "covariance_weight": 0.04,
        "gamma": 1.0,
        "epsilon": 1e-4,
        "infer_steps": 40,
        "infer_lr": 0.1,
        "distill_epochs": 10,
    }
    primary_layer = "codes"

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        self.settings = resolve(self.defaults, settings)
        s = self.settings
        # Snapshots would serve the test losses only, and test images have no codes while training runs.
        self.config = dataclasses.replace(train_config(s), keep=0)
        self.recipe = get_recipe(s["recipe"])
        self.image_size = image_shape[1]
        if s["code_per"] not in CODE_FORMS:
            raise unknown("code_per", s["code_per"], CODE_FORMS)
        if s["decoder_width"] < 32 or s["decoder_width"] % 32:
            raise ConfigError(f"decoder_width is {s['decoder_width']}; it must be a multiple of 32.")
        if s["infer_steps"] < 1 or s["distill_epochs"] < 0:
            raise ConfigError("infer_steps must be at least 1 and distill_epochs at least 0.")

    @property
    def layers(self) -> tuple[str, ...]:
        """ "codes", and those of the distilled encoder."""
        return ("codes", "distilled", "distilled-backbone") if self.settings["distill_epochs"] else ("codes",)

    def fit(self, context: FitContext) -> None:
        """Train codes and decoder, then the distilled encoder; both resume in the folder."""
        s, train_set, folder = self.settings, context.splits.train, context.folder
        n = len(train_set)
        claim_codes(train_set, folder)
        self.fabric = make_fabric(context.device, self.config.precision)
        self._seed = context.seed
        self._progress = context.progress
        per = 2 if s["code_per"] == "view" else 1
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive(context.seed, "init"))
            self.net = LONet(per * n, s["code_dim"], self.image_size, s["decoder_width"])
        if not trained(folder):
            record = MetricsLog(folder / METRICS)

            def monitor(epoch: int, seconds: float) -> None:
                z = self.net.codes.table.weight.detach()
                line = {"kind": "epoch", "epoch": epoch, "split": "val", "seconds": seconds}
                record.append(line | {"projector_std": float(z.std(dim=0).mean())})

            context.train(self, self.config, self.fabric, monitor)
        tensors, _ = load_tensors(folder / WEIGHTS)
        check_codes(tensors[_CODES], per * n, folder)
        self._set_net(tensors)
        if s["distill_epochs"]:
            codes = self.net.codes.table.weight.detach().cpu().view(n, per, -1).mean(dim=1)
            self._student = Distilled(s, codes, self.image_size)
            title = f"{context.title} distilling".strip()
            self._student.fit(dataclasses.replace(context, folder=folder / "distilled", title=title))

    def _set_net(self, tensors: dict[str, Tensor]) -> None:
        self.net.load_state_dict(tensors)
        self.net.to(self.fabric.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.net.eval()

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Load decoder, codes and the distilled encoder of a finished run."""
        s = self.settings
        self.fabric, self._seed, self._progress = make_fabric(device, self.config.precision), 0, False
        tensors, _ = load_tensors(folder / WEIGHTS)
        self.net = LONet(len(tensors[_CODES]), s["code_dim"], self.image_size, s["decoder_width"])
        self._set_net(tensors)
        if s["distill_epochs"]:
            self._student = Distilled(s, torch.zeros(2, s["code_dim"]), self.image_size)
            self._student.load(folder / "distilled", device)

    def optimizers(self) -> list[torch.optim.Optimizer]:
        """The decoder's optimiser as configured, and SparseAdam on the codes."""
        return [
            *make_optimizers(self.net.decoder, self.config),
            sparse_adam(self.net.codes.table, self.settings["code_lr"]),
        ]

    def loss(self, images: Tensor, rows: Tensor, rng: torch.Generator) -> tuple[Tensor, dict[str, Tensor]]:
        """Reconstruction of one view per image from its code, variance and covariance of the batch's codes."""
        s = self.settings
        if s["code_per"] == "view":
            return self._naive_loss(images, rows)
        height, width = images.shape[-2:]
        parameters = sample_view(self.recipe, len(images), height, width, rng)
        view = render(images, self.recipe, parameters)
        z = self.net.codes(rows)
        with self.fabric.autocast():
            drawn = self.net.decoder(z, conditions(parameters), positions(parameters, height, width))
        reconstruction = pyramid_l1(drawn, view).mean()
        # Twice the same codes: vicreg_terms wants views, and the mean over two equal ones is the one's own term.
        terms = vicreg_terms(z, z, gamma=s["gamma"], epsilon=s["epsilon"])
        return self._total(reconstruction, terms.variance, terms.covariance / 2, terms.invariance)

    def _total(
        self, reconstruction: Tensor, variance: Tensor, covariance: Tensor, invariance: Tensor
    ) -> tuple[Tensor, dict[str, Tensor]]:
        s = self.settings
        loss = s["reconstruction_weight"] * reconstruction + s["variance_weight"] * variance
        loss = loss + s["covariance_weight"] * covariance + s["invariance_weight"] * invariance
        terms = {"reconstruction": reconstruction, "variance": variance, "covariance": covariance}
        if s["code_per"] == "view":
            terms["invariance"] = invariance
        return loss, {name: term.detach() for name, term in terms.items()}

    def _naive_loss(self, images: Tensor, rows: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Two fixed views per image, each with its own code; the decoder is told nothing about the view."""
        s = self.settings
        zs, losses = [], []
        for which in (0, 1):
            # Fixed per image and slot, whatever the batch: one generator per image would be slow, so the parameters
            # of all images are drawn once.
            parameters = self._fixed(which, len(self.net.codes.table.weight) // 2, images).rows(rows)
            view = render(images, self.recipe, parameters)
            z = self.net.codes(2 * rows + which)
            blank = _blank(len(images), images.device)
            with self.fabric.autocast():
                drawn = self.net.decoder(z, *blank)
            zs.append(z)
            losses.append(pyramid_l1(drawn, view).mean())
        terms = vicreg_terms(zs[0], zs[1], gamma=s["gamma"], epsilon=s["epsilon"])
        return self._total(torch.stack(losses).mean(), terms.variance, terms.covariance / 2, terms.invariance)

    def _fixed(self, which: int, n: int, images: Tensor) -> ViewParameters:
        if not hasattr(self, "_tables"):
            height, width = images.shape[-2:]
            self._tables = [
                sample_view(self.recipe, n, height, width, generator(images.device, self._seed, "eval", k))
                for k in (0, 1)
            ]
        return self._tables[which]

    def infer(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Codes of any images with the decoder frozen: uint8 (N, 3, H, W) -> float32 (N, code_dim).

        Adam from the mean training code on the un-augmented view's reconstruction. Each image's result is its own:
        the loss is a sum over images, Adam works element by element, and the decoder has no batch statistics.
        """
        s, device = self.settings, self.fabric.device
        mean = self.net.codes.table.weight.detach().mean(dim=0)
        self.net.decoder.requires_grad_(False)
        out = []
        batches = range(0, len(images), _INFER_BATCH)
        shown = self._progress and len(batches) > 4
        with step_bar("inferring codes", len(batches), 0, images=_INFER_BATCH, enabled=shown) as bar:
            for number, start in enumerate(batches, start=1):
                batch = torch.from_numpy(np.array(images[start : start + _INFER_BATCH])).to(device)
                target = normalize(batch, self.recipe)
                condition, where = _blank(len(batch), device)
                z = mean.repeat(len(batch), 1).requires_grad_()
                optimizer = torch.optim.Adam([z], lr=s["infer_lr"])
                for step in range(s["infer_steps"]):
                    optimizer.param_groups[0]["lr"] = s["infer_lr"] * (1 - step / s["infer_steps"])
                    with self.fabric.autocast():
                        drawn = self.net.decoder(z, condition, where)
                    loss = pyramid_l1(drawn, target).sum()
                    (z.grad,) = torch.autograd.grad(loss, z)
                    optimizer.step()
                out.append(z.detach().cpu().numpy())
                bar(number, float(loss.detach()) / len(batch))
        self.net.decoder.requires_grad_(True)
        return np.concatenate(out)

    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, H, W) -> {layer: float32 (N, width)}; codes by test-time optimisation, whatever the images."""
        wanted = layers or self.layers
        out = {"codes": self.infer(images)} if "codes" in wanted else {}
        if self.settings["distill_epochs"] and set(wanted) - {"codes"}:
            made = self._student.embed(images)
            out |= {"distilled": made["projector"], "distilled-backbone": made["backbone"]}
        return {name: out[name] for name in wanted}


def _blank(n: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Conditions and positions of the un-augmented view."""
    where = torch.tensor([[-1.0, -1.0, 1.0, 1.0]], device=device).expand(n, 4)
    return torch.zeros(n, CONDITIONS, device=device), where
