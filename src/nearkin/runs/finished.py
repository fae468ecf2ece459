"""The finished runs of a study, as the uses see them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nearkin.embeddings import Embeddings
from nearkin.fileio import read_object
from nearkin.methods import rank
from nearkin.search.knn_cache import NEAREST, Remembered


@dataclass(frozen=True)
class FinishedRun:
    """A run with its embeddings. digest: of its evaluation; what was made of it is stale when this changes."""

    folder: Path
    method: str
    title: str
    seed: int
    layer: str
    accuracy: float | None
    digest: str

    def embeddings(self) -> Embeddings:
        """Those of the layer that downstream work uses."""
        return Embeddings.load(self.folder / "embeddings" / f"{self.layer}.parquet")

    @property
    def find(self) -> Remembered:
        """A search of that layer; what evaluation or another use has found is not searched again."""
        return Remembered(self.folder / NEAREST)


def finished_runs(study: Path) -> list[FinishedRun]:
    """All finished runs of a study, in the order of its table."""
    out = []
    for path in sorted(study.glob("runs/*/done.json")):
        evaluation: dict[str, Any] = read_object(path.parent / "evaluation.json", primary_layer=str, layers=dict)
        layer = evaluation["primary_layer"]
        linear = evaluation["layers"][layer]["linear"]
        out.append(
            FinishedRun(
                folder=path.parent,
                method=evaluation["method"],
                title=evaluation["title"],
                seed=evaluation["seed"],
                layer=layer,
                accuracy=None if linear is None else linear["accuracy"],
                digest=read_object(path, digest=str)["digest"],
            )
        )
    return sorted(out, key=lambda run: (rank(run.method), run.seed))


def first_seed(runs: list[FinishedRun]) -> list[FinishedRun]:
    """One run per method: that of the lowest seed. Variants (NAME@...) are left out."""
    out: dict[str, FinishedRun] = {}
    for run in runs:
        if "@" not in run.method:
            out.setdefault(run.method, run)
    return list(out.values())
