"""Images per second when a folder is embedded with the fast net: engines, precisions, decoding in parallel; in one run.

    python benchmarks/embedding.py [--images 4096] [--batch 512] [--encoder fast]

Weights are random: speed does not depend on them. PyTorch runs channels-last, in fp32 and in bf16; ONNX Runtime and OpenVINO
(where installed: pip install 'nearkin[export,benchmarks]') run the exported net in fp32, OpenVINO also in bf16. All get the
same normalised float batches. Below, JPEG files of 64 x 64 pixels are decoded and embedded by the fastest engine of PyTorch,
which is what nearkin offers: one after the other on all cores, and decoding of the next files beside the computing of the
present ones.
"""

from __future__ import annotations

import copy
import importlib.util
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from timing import fastest, parser, seconds_of, use_threads
from torch import nn

from nearkin.data.decode import decode, to_square
from nearkin.nets import create_encoder

SIDE, _FILE_SIDE = 32, 64
Engine = Callable[[NDArray[np.float32]], NDArray[np.float32]]


def engines(net: nn.Module, batch: int, threads: int, folder: Path) -> dict[str, Engine]:
    """Functions of a batch float32 (B, 3, S, S), by name."""
    net = net.eval().to(memory_format=torch.channels_last)

    def torch_engine(run: Callable[[torch.Tensor], torch.Tensor], precision: torch.dtype) -> Engine:
        @torch.inference_mode()
        def work(images: NDArray[np.float32]) -> NDArray[np.float32]:
            x = torch.from_numpy(images).contiguous(memory_format=torch.channels_last)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=precision == torch.bfloat16):
                return np.asarray(run(x).float().numpy())

        return work

    out: dict[str, Engine] = {
        "PyTorch fp32": torch_engine(net, torch.float32),
        "PyTorch bf16": torch_engine(net, torch.bfloat16),
    }
    if shutil.which("g++") is not None:
        out["PyTorch bf16 compiled"] = torch_engine(torch.compile(net, dynamic=False), torch.bfloat16)
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        return out
    path = folder / "net.onnx"
    example = (torch.zeros(batch, 3, SIDE, SIDE),)
    plain = create_copy(net)
    torch.onnx.export(plain, example, str(path), input_names=["x"], output_names=["z"], dynamo=True, verbose=False)
    if importlib.util.find_spec("onnxruntime") is not None:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.intra_op_num_threads = threads
        session = onnxruntime.InferenceSession(str(path), settings, providers=["CPUExecutionProvider"])
        out["ONNX Runtime fp32"] = lambda images: session.run(["z"], {"x": images})[0]
    if importlib.util.find_spec("openvino") is not None:
        import openvino

        core = openvino.Core()
        for precision in ("f32", "bf16"):
            hints = {"INFERENCE_PRECISION_HINT": precision, "INFERENCE_NUM_THREADS": threads}
            compiled = core.compile_model(str(path), "CPU", hints)
            out[f"OpenVINO {'fp32' if precision == 'f32' else precision}"] = lambda images, run=compiled: run([images])[
                0
            ]
    return out


def create_copy(net: nn.Module) -> nn.Module:
    """The net in the plain memory layout that exporters expect."""
    return copy.deepcopy(net).to(memory_format=torch.contiguous_format)


def read(paths: list[Path]) -> NDArray[np.float32]:
    """Decode files to one batch, normalised roughly as for the net."""
    images = np.stack([to_square(decode(path.read_bytes()), SIDE) for path in paths])
    return (images.astype(np.float32) - 127.5) / 64


def in_turn(batches: list[list[Path]], engine: Engine, pool: ThreadPoolExecutor) -> None:
    """Decode a batch on all cores, then embed it."""
    for batch in batches:
        quarter = max(1, len(batch) // 4)
        parts = pool.map(read, [batch[i : i + quarter] for i in range(0, len(batch), quarter)])
        engine(np.concatenate(list(parts)))


def side_by_side(batches: list[list[Path]], engine: Engine, pool: ThreadPoolExecutor) -> None:
    """Embed a batch while the next ones are decoded."""
    waiting = [pool.submit(read, batch) for batch in batches]
    for batch in waiting:
        engine(batch.result())


def main() -> None:
    options = parser("Embedding: engines and decoding.")
    options.add_argument("--images", type=int, default=4096)
    options.add_argument("--batch", type=int, default=512)
    options.add_argument("--encoder", default="fast")
    a = options.parse_args()
    if a.quick:
        a.images, a.batch, a.turns = 64, 16, 1
    use_threads(a.threads)
    rng = np.random.default_rng(0)
    a.images -= a.images % a.batch
    x = rng.standard_normal((a.images, 3, SIDE, SIDE), dtype=np.float32)
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        made = engines(create_encoder(a.encoder, SIDE), a.batch, a.threads, Path(folder))
        wanted = made["PyTorch fp32"](x[: a.batch])
        for engine in made.values():  # warm up, and the same vectors
            got = engine(x[: a.batch])
            assert np.abs(got - wanted).max() < 0.05 * np.abs(wanted).max()
        works = {
            name: lambda engine=engine: [engine(x[i : i + a.batch]) for i in range(0, a.images, a.batch)]  # type: ignore[misc]
            for name, engine in made.items()
        }
        best = fastest(works, a.turns)
        print(f"task       encoder {a.encoder}, {a.images:,} images of {SIDE} x {SIDE}, batch {a.batch}")
        for name, seconds in best.items():
            ratio = best["PyTorch fp32"] / seconds
            print(f"{name:<21} {a.images / seconds:9.0f} images/s   ratio to PyTorch fp32 {ratio:5.2f}")
        winner = min((name for name in best if name.startswith("PyTorch")), key=lambda name: best[name])
        paths = [Path(folder) / f"{i:06d}.jpg" for i in range(a.images)]
        for path in paths:
            pixels = rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).resize((_FILE_SIDE, _FILE_SIDE)).save(path, quality=90)
        batches = [paths[i : i + a.batch] for i in range(0, a.images, a.batch)]
        with ThreadPoolExecutor(a.threads) as pool:
            serial = min(seconds_of(lambda: in_turn(batches, made[winner], pool)) for _ in range(a.turns))
            beside = min(seconds_of(lambda: side_by_side(batches, made[winner], pool)) for _ in range(a.turns))
    print(f"files, in turn        {a.images / serial:9.0f} images/s   ({winner})")
    print(f"files, in parallel    {a.images / beside:9.0f} images/s   ratio to in turn {serial / beside:5.2f}")


if __name__ == "__main__":
    main()
