"""What the page is given: tables join by id, names are unique, a study needs no further words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.explore.collection import Collection, collect


def gather(*paths: Path, **options: Any) -> tuple[Collection, list[str]]:
    said: list[str] = []
    usual = {"images": None, "tables": [], "run": None, "split": None, "most": 60_000, "seed": 0, "say": said.append}
    return collect(paths, **(usual | options)), said


def test_a_study_shows_its_test_images_with_their_maps_and_pictures(root: Path) -> None:
    found, said = gather(root / "study")
    assert len(found) == 20 and found.pictures is not None and (found.pictures.where >= 0).all()
    assert "--split all shows all" in said[0] and found.notes == [said[0].removeprefix("note: ")]
    assert np.isfinite(found.map(0, "tsne").coords).all() and found.first_map(0) == "tsne"
    assert len(gather(root / "study", split="all")[0]) == 80


def test_a_table_gives_a_map_and_columns_and_equal_names_are_numbered(root: Path, tmp_path: Path) -> None:
    ids = Embeddings.load(root / "e.parquet").ids.tolist()
    columns = {"path": ids, "s": np.arange(80) / 7, "x": np.arange(80.0), "y": np.arange(80.0)}
    pq.write_table(pa.table(columns), tmp_path / "t.parquet")
    found, _ = gather(root / "e.parquet", tables=[tmp_path / "t.parquet"] * 2)
    assert [column.name for column in found.columns] == ["class", "split", "s", "s (2)"]
    assert found.first_map(0) == "table" and found.pictures is None


def test_columns_of_the_embeddings_own_file(tmp_path: Path) -> None:
    rows = {"id": ["a", "b", "c"], "embedding": [[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], "camera": ["old", "new", "old"]}
    pq.write_table(pa.table(rows), tmp_path / "e.parquet")
    found, _ = gather(tmp_path / "e.parquet")
    assert [(column.name, column.groups) for column in found.columns] == [("camera", ("new", "old"))]
    assert not found.describe()["spaces"][0]["searchable"]


def test_a_run_makes_its_embeddings_searchable(root: Path) -> None:
    found, _ = gather(root / "e.parquet", run=root / "run")
    assert found.describe()["spaces"][0]["searchable"]


def test_unknown_maps_and_scores_are_refused_and_known_ones_made_once(root: Path) -> None:
    found, _ = gather(root / "e.parquet")
    assert found.map(0, "pca") is found.map(0, "pca") and found.score(0, "anomaly") is found.score(0, "anomaly")
    with pytest.raises(ConfigError, match="unknown map 'umap'"):
        found.map(0, "umap")
    with pytest.raises(ConfigError, match="unknown score"):
        found.score(0, "beauty")
    with pytest.raises(DataError, match="no such file"):
        gather(root / "e.parquet", images="./nowhere")
