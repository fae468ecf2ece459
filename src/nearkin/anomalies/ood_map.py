"""One map of in- and out-of-distribution images together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nearkin.fileio import to_json
from nearkin.maps.maps import Map, draw_maps


@dataclass(frozen=True)
class JointMap:
    """Attributes:
    names: of the sets. member: int64 (P,), index into ``names``. rows: int64 (P,), row within that set.
    maps: "pca" and "tsne", each with coords (P, 2); their ``purity`` says how many map neighbours are of the same set.
    """

    names: tuple[str, ...]
    member: NDArray[np.int64]
    rows: NDArray[np.int64]
    maps: dict[str, Map]

    def to_dict(self) -> dict[str, Any]:
        """JSON-able: {"names", "member", "rows", "maps": kind -> {"x", "y", "trustworthiness", "purity", ...}}."""
        maps = {
            kind: to_json(item.scores)
            | {axis: np.round(item.coords[:, k].astype(float), 3).tolist() for k, axis in enumerate("xy")}
            for kind, item in self.maps.items()
        }
        return {
            "names": list(self.names),
            "member": self.member.tolist(),
            "rows": self.rows.tolist(),
            "maps": maps,
        }


def joint_map(
    sets: Mapping[str, NDArray[np.float32]], *, most: int = 2000, seed: int = 0, n_jobs: int = -1
) -> JointMap:
    """PCA and t-SNE of several sets (N, D) drawn together, at most ``most`` images of each, a seeded choice."""
    rng = np.random.default_rng(seed)
    rows = [np.sort(rng.permutation(len(Z))[:most]) for Z in sets.values()]
    member = np.repeat(np.arange(len(rows)), [len(r) for r in rows])
    Z = np.concatenate([values[r] for values, r in zip(sets.values(), rows, strict=True)])
    return JointMap(tuple(sets), member, np.concatenate(rows), draw_maps(Z, member, seed=seed, n_jobs=n_jobs))
