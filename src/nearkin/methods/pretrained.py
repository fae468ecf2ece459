"""An encoder that others trained, frozen: nothing is learned from the folder at hand.

It stands in the same table, under the same protocol, as what is trained from scratch. What it has seen before matters: weights
trained with labels of the same classes, or on the very test images, have an advantage that no figure here takes away, so
the report says what is known of them (``EncoderCard.licence``, ``trained_on``).

A run keeps the weights it used, and how images are prepared for them, so that it can be opened without any network, and
after the hub has changed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError
from nearkin.fileio import to_json, write_json
from nearkin.folders import WEIGHTS
from nearkin.methods.base import FitContext, Method, resolve
from nearkin.nets import encoder_names
from nearkin.nets.pretrained import DEFAULT, EncoderCard, PretrainedEncoder, open_pretrained, rebuild
from nearkin.train.checkpoint import load_tensors, save_tensors
from nearkin.train.device import pick_device

CARD = "encoder.json"  # of a run: the card, with a note for people
_LARGEST_LOADED = 1024  # pixels a side that nearkin.data loads
_PIXELS_AT_ONCE = 64 * 224 * 224  # prepared images of one batch; larger ones leave the processor's caches


class PretrainedMethod(Method):
    """Settings: the encoder's name (:mod:`nearkin.nets.pretrained`), and what replaces its own preprocessing.

    encoder: e.g. "efficientnet-lite0", "timm:vit_small_patch14_dinov2.lvd142m". weights_file: a file in place of the hub's.
    side: pixels a side that the encoder sees; 0: its own. crop: "center", "squash" or "pad". mean, std: three numbers, as text
    "0.5,0.5,0.5". interpolation: "bicubic" or "bilinear". Empty text: the encoder's own.
    layer names depend on the encoder: "pooled", of a transformer also "cls" and "patch-mean", of an ONNX file "output".
    """

    one_by_one = True
    defaults: ClassVar[dict[str, Any]] = {
        "encoder": DEFAULT,
        "weights_file": "",
        "side": 0,
        "crop": "",
        "mean": "",
        "std": "",
        "interpolation": "",
    }

    def __init__(self, settings: dict[str, Any], image_shape: tuple[int, int, int]) -> None:
        self.settings = resolve(self.defaults, settings, train=False)
        if self.settings["encoder"] in encoder_names():  # a study's or preset's, for the nets that are trained
            self.settings["encoder"] = DEFAULT
        self._device = torch.device("cpu")
        self._opened: PretrainedEncoder | None = None

    @property
    def encoder(self) -> PretrainedEncoder:
        """The encoder; opened, and its weights fetched, when it is first asked for. Raises what ``open_pretrained`` raises."""
        if self._opened is None:
            s = self.settings
            given = {key: _three(key, s[key]) for key in ("mean", "std") if s[key]}
            given |= {key: s[key] for key in ("crop", "interpolation") if s[key]}
            file = Path(s["weights_file"]) if s["weights_file"] else None
            self._opened = open_pretrained(s["encoder"], weights=file, side=s["side"] or None, given=given)
        return self._opened

    @property
    def primary_layer(self) -> str:
        return self.encoder.layer_names[0]

    @property
    def layers(self) -> tuple[str, ...]:
        return self.encoder.layer_names

    @property
    def best_side(self) -> int:
        return min(self.encoder.card.preprocessing.loaded_side, _LARGEST_LOADED)

    @property
    def provenance(self) -> dict[str, Any]:
        """The card, a note for people, and a digest of the weights."""
        digest = hashlib.sha256()
        for name, value in self.encoder.weights().items():
            digest.update(name.encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
        card = self.encoder.card
        return {"encoder": {"note": card.note, **to_json(card), "weights": digest.hexdigest()[:16]}}

    def fit(self, context: FitContext) -> None:
        """Keep the weights and the card in the run's folder; learn nothing."""
        weights = context.folder / WEIGHTS
        if not weights.exists():
            write_json(context.folder / CARD, self.provenance["encoder"])
            save_tensors(weights, self.encoder.weights(), {"encoder": to_json(self.encoder.card)})
        self.load(context.folder, context.device)

    def load(self, folder: Path, device: str = "auto", runs: Mapping[str, Path] | None = None) -> None:
        """Open what :meth:`fit` kept."""
        tensors, meta = load_tensors(folder / WEIGHTS)
        try:
            card = EncoderCard.from_dict(meta["encoder"])
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{folder / WEIGHTS} does not say which encoder it belongs to. Delete the run and make it again."
            ) from error
        self._opened = rebuild(card, tensors)
        self.to(device)

    def to(self, device: str) -> None:
        """Move the encoder to "auto", "cpu" or "cuda"."""
        self._device = torch.device(pick_device(device))
        self._opened = self.encoder.to(self._device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @torch.inference_mode()
    def embed(self, images: NDArray[np.uint8], layers: tuple[str, ...] | None = None) -> dict[str, NDArray[np.float32]]:
        """uint8 (N, 3, S, S) of any side S -> {layer: float32 (N, D)}."""
        encoder, wanted = self.encoder, layers or self.layers
        size = max(1, _PIXELS_AT_ONCE // encoder.card.preprocessing.side**2)
        parts: dict[str, list[NDArray[np.float32]]] = {name: [] for name in wanted}
        for start in range(0, len(images), size):
            batch = torch.from_numpy(np.ascontiguousarray(images[start : start + size])).to(self._device)
            vectors = encoder(batch)
            for name in wanted:
                parts[name].append(vectors[name].float().cpu().numpy())
        return {name: np.concatenate(found) for name, found in parts.items()}


def _three(name: str, text: str) -> tuple[float, float, float]:
    try:
        red, green, blue = (float(part) for part in text.split(","))
    except ValueError as error:
        raise ConfigError(f"{name}={text!r} must be three numbers, e.g. {name}=0.5,0.5,0.5.") from error
    return red, green, blue
