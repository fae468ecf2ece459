"""t-SNE's gradient against all pairs, on small maps (interpolated) and on wide ones (Barnes and Hut)."""

from __future__ import annotations

import numpy as np
import openTSNE.tsne
import pytest
from scipy.sparse import csr_matrix

from nearkin.maps.tsne import THETA, _gradient

N, K = 5200, 20


@pytest.mark.parametrize(("side", "wanted"), [(20.0, "kl_divergence_fft"), (120.0, "kl_divergence_bh")])
def test_the_cheaper_gradient_is_taken_and_right(side: float, wanted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    Y = rng.uniform(-side / 2, side / 2, (N, 2))
    rows, columns = np.repeat(np.arange(N), K), rng.integers(0, N, N * K)
    P = csr_matrix((np.full(N * K, 1 / (N * K)), (rows, columns)), shape=(N, N))
    P.sum_duplicates()
    other = {"kl_divergence_fft": "kl_divergence_bh", "kl_divergence_bh": "kl_divergence_fft"}[wanted]
    monkeypatch.setattr(openTSNE.tsne, other, None)  # calling it fails
    fft = {"n_interpolation_points": 3, "min_num_intervals": 50, "ints_in_interval": 1}
    found = _gradient(Y, P, dof=1.0, bh_params={"theta": THETA}, fft_params=fft)[1]
    exact, total = np.zeros((N, 2)), 0.0
    for start in range(0, N, 400):
        apart = Y[start : start + 400, None] - Y[None]
        q = 1 / (1 + np.square(apart).sum(axis=2))
        total += q.sum() - len(q)
        exact[start : start + 400] = -(apart * np.square(q)[..., None]).sum(axis=1)
    exact /= total
    pairs = P.tocoo()
    apart = Y[pairs.row] - Y[pairs.col]
    pull = pairs.data[:, None] * apart / (1 + np.square(apart).sum(axis=1, keepdims=True))
    np.add.at(exact, pairs.row, pull)
    assert np.linalg.norm(found - exact) < 0.15 * np.linalg.norm(exact)
