"""Which embeddings are found where, and how they are brought to the same images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, DataError
from nearkin.explore.spaces import align, find_spaces, with_run
from nearkin.runs.run import Run

QUIET = {"most": 1000, "seed": 0, "say": lambda _: None}


def write(path: Path, ids: list[str], D: int = 4, split: str = "train") -> Path:
    Z = np.arange(len(ids) * D, dtype=np.float32).reshape(-1, D)
    Embeddings(Z, np.array(ids), None, np.full(len(ids), split)).save(path)
    return path


def test_a_study_gives_one_space_per_run_in_its_order(root: Path) -> None:
    spaces = find_spaces([root / "study"])
    assert [space.name for space in spaces] == ["pca-s0/components", "other-s0/components"]
    assert [space.title for space in spaces] == ["PCA, components", "OTHER, components"]
    assert all(space.run is not None for space in spaces)


def test_a_run_folder_and_a_file_inside_it_know_their_run(root: Path) -> None:
    folder = root / "study" / "runs" / "pca-s0"
    assert find_spaces([folder])[0].run == Run(folder)
    inside = find_spaces([folder / "embeddings" / "components.parquet"])[0]
    assert (
        inside.run is not None and inside.run.folder.resolve() == folder.resolve() and inside.title == "PCA, components"
    )


def test_the_same_file_twice_gets_two_names(root: Path) -> None:
    spaces = find_spaces([root / "e.parquet", root / "e.parquet"])
    assert [space.name for space in spaces] == ["e", "e-2"]


def test_rows_are_matched_by_id(tmp_path: Path) -> None:
    spaces = find_spaces(
        [write(tmp_path / "a.parquet", ["p", "q", "r"]), write(tmp_path / "b.parquet", ["r", "x", "p"])]
    )
    said: list[str] = []
    a, b = align(spaces, split="all", most=10, seed=0, say=said.append)
    assert a.embeddings.ids.tolist() == b.embeddings.ids.tolist() == ["p", "r"]
    assert b.embeddings.Z[0].tolist() == [8, 9, 10, 11] and "2 images are in all 2" in said[0]


def test_a_large_set_is_cut_by_a_seeded_choice(tmp_path: Path) -> None:
    spaces = find_spaces([write(tmp_path / "a.parquet", [str(i) for i in range(50)])])
    cut = [
        align(spaces, split="all", most=20, seed=seed, say=lambda _: None)[0].embeddings.ids.tolist()
        for seed in (0, 0, 1)
    ]
    assert len(cut[0]) == 20 and cut[0] == cut[1] != cut[2]


def test_refusals_say_what_to_do(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="nothing to explore"):
        find_spaces([])
    with pytest.raises(DataError, match="holds no embeddings"):
        find_spaces([root / "run"])
    (tmp_path / "runs").mkdir()
    with pytest.raises(DataError, match="no finished run"):
        find_spaces([tmp_path])
    with pytest.raises(DataError, match="no embeddings at"):
        find_spaces([tmp_path / "none.parquet"])
    apart = find_spaces([write(tmp_path / "a.parquet", ["p"]), write(tmp_path / "b.parquet", ["q"])])
    with pytest.raises(DataError, match="share no image"):
        align(apart, split="all", **QUIET)  # type: ignore[arg-type]
    twice = find_spaces([write(tmp_path / "a.parquet", ["p", "p"]), write(tmp_path / "b.parquet", ["p", "q"])])
    with pytest.raises(DataError, match="ids repeat"):
        align(twice, split="all", **QUIET)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="--split can be: all, train"):
        align(find_spaces([tmp_path / "b.parquet"]), split="test", **QUIET)  # type: ignore[arg-type]


def test_a_run_is_noted_only_for_what_it_made(root: Path, tmp_path: Path) -> None:
    assert with_run(find_spaces([root / "e.parquet"]), root / "run")[0].run == Run(root / "run")
    loaded = Embeddings.load(root / "e.parquet")
    foreign = Embeddings(loaded.Z, loaded.ids, None, loaded.split, provenance={"method": "vicreg"})
    foreign.save(tmp_path / "f.parquet")
    with pytest.raises(ConfigError, match="made none"):
        with_run(find_spaces([tmp_path / "f.parquet"]), root / "run")
