"""Checkpoints: one safetensors file each, written to a temporary name and renamed, so never half-valid."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from nearkin.errors import DataError, OutputError, reading
from nearkin.fileio import as_object, write_file


def save_tensors(path: Path, tensors: dict[str, Tensor], meta: dict[str, Any]) -> None:
    """Write ``tensors`` with ``meta`` (JSON-able) in the header. Raises OutputError when the disk refuses."""
    payload = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    # safetensors' save_file writes a temporary file of its own naming, which a kill would leave behind.
    try:
        content = save(payload, {"nearkin": json.dumps(meta)})
    except SafetensorError as error:
        raise OutputError(f"cannot write {path}: {error}.") from error
    write_file(path, lambda handle: handle.write(content), "Free some space, then run the same command again.")


def load_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote. Raises DataError when the file is missing or damaged."""
    if not path.exists():
        raise DataError(f"no weights at {path}. Train first with 'nearkin fit' or 'nearkin study'.")
    with reading(f"{path} is damaged: it", "Delete it and run again."), safe_open(path, framework="pt") as handle:
        meta = json.loads((handle.metadata() or {}).get("nearkin", "{}"))
        return {name: handle.get_tensor(name) for name in handle.keys()}, as_object(meta)  # noqa: SIM118 (not a dict)


def optimizer_tensors(optimizers: list[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """Flatten optimiser state into named tensors, "optimizer.K.PARAMETER.KEY"."""
    flat: dict[str, Tensor] = {}
    for k, optimizer in enumerate(optimizers):
        for index, state in optimizer.state_dict()["state"].items():
            for key, value in state.items():
                flat[f"optimizer.{k}.{index}.{key}"] = torch.as_tensor(value)
    return flat


def restore_optimizers(optimizers: list[torch.optim.Optimizer], tensors: dict[str, Tensor]) -> None:
    """Put back what :func:`optimizer_tensors` took, in each parameter's own memory format (bitwise resume needs it)."""
    for k, optimizer in enumerate(optimizers):
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        for index, p in enumerate(parameters):
            prefix = f"optimizer.{k}.{index}."
            for name, value in tensors.items():
                if name.startswith(prefix):
                    if value.ndim == 0 and not value.is_floating_point():  # a plain int (SparseAdam's step)
                        optimizer.state[p][name.removeprefix(prefix)] = int(value)
                        continue
                    shaped = torch.empty_like(p).copy_(value) if value.shape == p.shape else value.clone()
                    optimizer.state[p][name.removeprefix(prefix)] = shaped
