"""Counter-based randomness: every draw is a function of (seed, purpose, position), so a resume needs no RNG state."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

_PURPOSES = {"order": 0, "views": 1, "init": 2, "eval": 3}


def derive(seed: int, purpose: str, *position: int) -> int:
    """A 63-bit seed for ``purpose`` ("order", "views", "init", "eval") at ``position``, e.g. the step."""
    state = np.random.SeedSequence([seed, _PURPOSES[purpose], *position]).generate_state(1, np.uint64)
    return int(state[0] >> np.uint64(1))


def generator(device: torch.device, seed: int, purpose: str, *position: int) -> torch.Generator:
    """A torch generator on ``device`` seeded by :func:`derive`."""
    return torch.Generator(device).manual_seed(derive(seed, purpose, *position))


def epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the n images in ``epoch``: a permutation, int64 (n,)."""
    return np.random.default_rng(derive(seed, "order", epoch)).permutation(n)
