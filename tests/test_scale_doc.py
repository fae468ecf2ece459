"""docs/scale.md: its table is what the formulas make of docs/scale.json, and the formulas are those written there."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.commands import ROOT


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Any:
    """benchmarks/costs.py as a module."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import costs

    return costs


def test_the_table_follows_from_the_constants(costs: Any) -> None:
    constants = json.loads((ROOT / "docs" / "scale.json").read_text())
    assert costs.table(constants) in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


def test_formulas_by_hand(costs: Any) -> None:
    constants = {
        "step_seconds": 0.5, "batch": 250, "embed_images_per_s": 1000.0, "dim": 96, "pq": 16,
        "image_bytes": {"uint8": 3072.0}, "vector_bytes": {"flat": 384.0, "HNSW": 656.0, "IVF-PQ": 24.0},
    }  # fmt: skip
    found = costs.cost(10**8, constants)
    assert found["training, one epoch"] == pytest.approx(55.5556, rel=1e-4)  # 400,000 steps
    assert found["embedding"] == pytest.approx(27.7778, rel=1e-4)
    assert found["training, one epoch, on a GPU (estimate)"] is None
    counted = costs.cost(10**8, constants | {"train_operations": 7.2e9, "embed_operations": 3.6e8})
    assert counted["training, one epoch, on a GPU (estimate)"] == pytest.approx(2.0)
    assert counted["embedding, on a GPU (estimate)"] == pytest.approx(0.1)
    assert found["images, uint8"] == 307.2e9 and found["vectors, float32"] == found["index, flat"] == 38.4e9
    assert found["index, IVF-PQ"] == 2.4e9 + 384 * (40_000 + 256)
    assert found["DiskANN, memory"] == 1.6e9
    assert found["DiskANN, disk"] == pytest.approx(1e8 * 4096 / 6)  # 644 bytes: six nodes in a sector
    assert costs.cost(1, constants | {"dim": 1024})["DiskANN, disk"] == 8192  # 4356 bytes: two sectors
