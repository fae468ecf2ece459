"""The same seed gives the same weights in another process, whose hashes of strings differ."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nearkin.train.checkpoint import load_tensors

TINY = ["--set", "encoder=fast-tiny", "--set", "projector=8,8", "--set", "batch_size=16", "--set", "precision=fp32"]


@pytest.mark.slow
def test_two_processes_train_the_same_weights(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (60, 16, 16, 3), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images)

    def fit(name: str, seed: str) -> dict[str, bytes]:
        command = [
            sys.executable,
            "-m",
            "nearkin",
            "fit",
            "set.npz",
            "-o",
            name,
            "--seed",
            seed,
            "--epochs",
            "2",
            "-q",
            *TINY,
        ]
        env = os.environ | {"PYTHONHASHSEED": str(len(name)), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        tensors, _ = load_tensors(tmp_path / name / "weights.safetensors")
        return {key: value.numpy().tobytes() for key, value in tensors.items()}

    one = fit("one", "0")
    assert fit("another", "0") == one
    assert fit("different", "1") != one
