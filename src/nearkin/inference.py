"""A run's encoder in OpenVINO, the fastest way of the measured ones to embed on a CPU."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from nearkin.errors import ConfigError, DataError
from nearkin.methods.joint import JointEmbedding
from nearkin.nets.pixels import PixelEncoder
from nearkin.train.device import uses_bf16

_BATCH = 512
_CHECKED = 8  # images
# Of the root mean square of the vectors: what bfloat16 in other places explains, and a wrong net does not.
_TOLERANCE = 0.03


def check_openvino(method: Any) -> None:
    """Refuse what OpenVINO cannot embed with.

    Raises:
        ConfigError: the package is missing, or the method has no encoder.
    """
    if importlib.util.find_spec("openvino") is None:
        raise ConfigError("--device openvino needs OpenVINO: pip install 'nearkin[openvino]'.")
    if not isinstance(method, JointEmbedding):
        raise ConfigError("--device openvino is for methods with an encoder; use --device cpu.")


def openvino_layer(method: Any, layer: str) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """images uint8 (N, 3, S, S) -> one layer's vectors float32 (N, D), in the precision that the method uses on a CPU.

    A few images are embedded by both runtimes first.

    Raises:
        ConfigError: see :func:`check_openvino`. DataError: OpenVINO gives other vectors than PyTorch.
    """
    check_openvino(method)
    import openvino

    size = (3, method.image_size, method.image_size)
    net = method.joint if layer == "projector" else method.joint.encoder
    encoder = PixelEncoder(net, layer, method.recipe.mean, method.recipe.std).eval()
    # The shape is fixed, and the last batch is filled up: kernels chosen for one size are faster.
    program = torch.export.export(encoder, (torch.zeros((_BATCH, *size), dtype=torch.uint8),))
    model = openvino.convert_model(program)
    model.reshape([_BATCH, *size])
    hints = {
        "INFERENCE_PRECISION_HINT": "bf16" if uses_bf16("cpu", method.config.precision) else "f32",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
    }
    compiled = openvino.Core().compile_model(model, "CPU", hints)

    def embed(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        parts = [np.zeros((0, compiled.outputs[0].shape[1]), dtype=np.float32)]
        for start in range(0, len(images), _BATCH):
            part = np.array(images[start : start + _BATCH])
            filled = np.concatenate([part, np.zeros((_BATCH - len(part), *size), dtype=np.uint8)])
            parts.append(compiled([filled])[0][: len(part)].astype(np.float32))
        return np.concatenate(parts)

    some = np.random.default_rng(0).integers(0, 256, (_CHECKED, *size), dtype=np.uint8)
    wanted = method.embed(some, (layer,))[layer]
    apart = float(np.sqrt(np.square(embed(some) - wanted).mean() / max(1e-12, float(np.square(wanted).mean()))))
    if not apart <= _TOLERANCE:
        raise DataError(f"OpenVINO gives other vectors than PyTorch: they differ by {apart:.1e}. Use --device cpu.")
    return embed
