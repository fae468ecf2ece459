"""A finished run's encoder as a folder that ``timm.create_model`` loads: weights, and a config with the preprocessing.

The layout is timm's own (timm/models/_hub.py, save_for_hf and load_model_config_from_path):
config.json with architecture, model_args and pretrained_cfg, beside model.safetensors.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import safetensors.torch
import timm
import torch

from nearkin.augment import normalize
from nearkin.errors import ConfigError
from nearkin.export.onnx import difference, open_encoder, random_images
from nearkin.fileio import read_json, write_file, write_json
from nearkin.methods.joint import JointEmbedding
from nearkin.nets.encoder import SMALL_IMAGE
from nearkin.runs.run import Run
from nearkin.version import __version__

WEIGHTS, CONFIG = "model.safetensors", "config.json"
LAYER = "backbone"  # timm's nets end at the backbone; heads and projectors are nearkin's


def export_timm(run: Path, out: Path) -> float:
    """Write the backbone of a finished run into the folder ``out`` and compare timm's vectors with the run's.

    ``timm.create_model("local-dir:OUT", pretrained=True)`` gives float32 (B, F) of float32 (B, 3, S, S), pixels in [0, 1]
    less the config's mean and divided by its std; ``timm.create_model(NAME, checkpoint_path=..., **model_args)`` does the
    same without the config.

    Returns:
        The largest difference between timm's vectors and the run's on random images, as a share of the largest value.
    Raises:
        ConfigError: a method without an encoder, an encoder that timm does not have, ``out`` named like a file or
            in use for something else.
        DataError: no finished run there, or timm gives other vectors than the run. OutputError: disk.
    """
    if out.suffix in (".onnx", ".pt2", ".safetensors"):
        raise ConfigError(f"-o {out}: --timm writes a folder; give a name without '{out.suffix}'.")
    if (out / CONFIG).exists() and "architecture" not in read_json(out / CONFIG):  # for example a run's config
        raise ConfigError(f"-o {out} holds another config.json, which would be overwritten. Choose another folder.")
    method, _ = open_encoder(run, layer=LAYER)
    encoder = method.joint.encoder
    if encoder.timm is None:
        name = method.settings["encoder"]
        small = f" for images up to {SMALL_IMAGE} pixels" if name in ("resnet18-small", "reference") else ""
        raise ConfigError(
            f"encoder '{name}'{small} is none of timm's, so timm.create_model cannot build it. Export {run} as .onnx or "
            ".pt2, which need no code of the net, or train with a timm encoder, such as --set encoder=resnet18."
        )
    architecture, arguments = encoder.timm
    tensors = {key: value.detach().cpu().contiguous() for key, value in encoder.backbone.state_dict().items()}
    data = safetensors.torch.save(tensors, {"format": "pt", "nearkin": __version__})
    write_file(out / WEIGHTS, lambda handle: handle.write(data))
    net = timm.create_model(architecture, checkpoint_path=str(out / WEIGHTS), **arguments).eval()
    write_json(out / CONFIG, _config(run, method, net, architecture, arguments))
    with torch.no_grad():
        found = net(normalize(torch.from_numpy(random_images(method)), method.recipe)).numpy()
    return difference(found, method, LAYER, str(out))


def _config(
    run: Path, method: JointEmbedding, net: Any, architecture: str, arguments: dict[str, Any]
) -> dict[str, Any]:
    """The config that timm reads. Its entry "nearkin", which timm ignores, says where the weights come from."""
    made = Run(run).config()
    side, own = method.image_size, net.pretrained_cfg
    return {
        "architecture": architecture,
        "num_classes": 0,
        "num_features": int(net.num_features),
        "model_args": arguments,
        "pretrained_cfg": {
            "input_size": [3, side, side],
            "fixed_input_size": bool(own.get("fixed_input_size")),
            # Resize the short side to S, then crop the centre, as nearkin does with files.
            "interpolation": "bicubic",
            "crop_pct": 1.0,
            "crop_mode": "center",
            "mean": list(method.recipe.mean),
            "std": list(method.recipe.std),
            "num_classes": 0,
            "first_conv": own.get("first_conv"),
            "classifier": own.get("classifier"),
        },
        "nearkin": {"version": __version__, "method": made.method, "seed": made.seed, "layer": LAYER},
    }
