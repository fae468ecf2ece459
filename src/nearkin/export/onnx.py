"""A finished run as a file for other programs: ONNX, or a torch.export archive.

The file maps uint8 pixels to one layer's vectors: scaling and normalisation are inside, so that nobody has to repeat them.
"""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from nearkin.errors import ConfigError, DataError
from nearkin.fileio import write_file
from nearkin.methods.joint import JointEmbedding
from nearkin.runs.run import Run, open_run
from nearkin.version import __version__

FORMATS = (".onnx", ".pt2")
_TOLERANCE = 1e-3  # relative to the largest value of the vectors: other kernels round differently


def open_encoder(run: Path, *, layer: str | None = None) -> tuple[JointEmbedding, str]:
    """Open a finished run on the CPU in float32, whatever its training precision. Return its method and the layer to export.

    Raises:
        ConfigError: an unknown layer, or a method without an encoder. DataError: no finished run there.
    """
    maker = open_run(run)
    if maker.config().method == "pretrained":
        raise ConfigError(f"{run} is an encoder that others trained; only nets that nearkin trained are exported.")
    opened = maker.open(layer, device="cpu")
    method, chosen = opened.method, opened.layer
    if not isinstance(method, JointEmbedding):
        name = maker.config().method
        raise ConfigError(
            f"method '{name}' in {run} has no encoder to export; its vectors are in the run's embeddings."
        )
    # The exported file is checked against these vectors; bfloat16 rounds by more than the tolerance.
    method.config = dataclasses.replace(method.config, precision="fp32")
    method.load(run, "cpu")
    return method, chosen


def random_images(method: JointEmbedding) -> NDArray[np.uint8]:
    """Noise images uint8 (5, 3, S, S), on which an exported file is compared with the run."""
    size = (5, 3, method.image_size, method.image_size)
    return np.random.default_rng(0).integers(0, 256, size, dtype=np.uint8)


def difference(found: NDArray[np.float32], method: JointEmbedding, layer: str, what: str) -> float:
    """The largest difference of vectors of :func:`random_images` from the run's, as a share of the largest value.

    Raises:
        DataError: the difference exceeds rounding. ``what`` names the source of the vectors in the message.
    """
    wanted = method.embed(random_images(method), (layer,))[layer]
    worst = float(np.abs(found - wanted).max() / max(1e-12, float(np.abs(wanted).max())))
    if not worst <= _TOLERANCE:
        raise DataError(f"{what} gives other vectors than the run: they differ by {worst:.1e} of the largest value.")
    return worst


class _Pixels(nn.Module):
    """uint8 (B, 3, S, S) -> float32 (B, D): normalisation, encoder, one layer."""

    mean: Tensor
    std: Tensor

    def __init__(self, method: JointEmbedding, layer: str) -> None:
        super().__init__()
        # Archives hold plain arrays: channels-last weights would be written as slices of larger arrays.
        self.net = method.joint.to(memory_format=torch.contiguous_format)
        self.layer = layer
        self.register_buffer("mean", torch.tensor(method.recipe.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(method.recipe.std).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        x = (images.to(torch.float32) / 255 - self.mean) / self.std
        out: Tensor = self.net.layers(x)[self.layer]
        return out


def export_run(run: Path, out: Path, *, layer: str | None = None) -> float:
    """Write the encoder of a finished run as ``out`` (.onnx or .pt2), any batch size, and compare it with the run.

    The ONNX file has the input "images" uint8 (B, 3, S, S) and the output "vectors" float32 (B, D), and says in its
    metadata which method, seed and layer it holds.

    Returns:
        The largest difference between the file's vectors and the run's on random images, as a share of the largest value.
    Raises:
        ConfigError: an unknown format or layer, a method without an encoder, a missing package.
        DataError: no finished run there, or a file that gives other vectors than the run. OutputError: disk.
    """
    if out.suffix not in FORMATS:
        raise ConfigError(f"-o {out}: a model is exported as {' or '.join(FORMATS)}; with --timm as a folder.")
    if out.suffix == ".onnx":
        missing = [name for name in ("onnx", "onnxscript", "onnxruntime") if importlib.util.find_spec(name) is None]
        if missing:
            raise ConfigError(f"export to ONNX needs {', '.join(missing)}: pip install 'nearkin[export]'.")
    method, chosen = open_encoder(run, layer=layer)
    net = _Pixels(method, chosen).eval()
    images = torch.from_numpy(random_images(method))
    config = Run(run).config()
    about = {"nearkin": __version__, "method": str(config.method), "seed": str(config.seed), "layer": chosen}
    out.parent.mkdir(parents=True, exist_ok=True)
    program = torch.export.export(net, (images,), dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}})
    if out.suffix == ".onnx":
        _write_onnx(program, out, about)
        vectors = _run_onnx(out, images)
    else:
        write_file(out, lambda handle: torch.export.save(program, handle, extra_files=about))
        vectors = torch.export.load(out).module()(images).detach().numpy()
    return difference(vectors, method, chosen, str(out))


def _write_onnx(program: torch.export.ExportedProgram, out: Path, about: dict[str, str]) -> None:
    made = torch.onnx.export(program, input_names=["images"], output_names=["vectors"], dynamo=True, verbose=False)
    assert made is not None
    model = made.model_proto
    for key, value in about.items():
        model.metadata_props.add(key=key, value=value)
    write_file(out, lambda handle: handle.write(model.SerializeToString()))


def _run_onnx(path: Path, images: Tensor) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (vectors,) = session.run(["vectors"], {"images": images.numpy()})
    return np.asarray(vectors, dtype=np.float32)
