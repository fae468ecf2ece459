"""Eigenmaps as a method: what is said about the graph, and what is cut to the number of images."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nearkin.methods import FitContext, create
from tests.methods.test_contract import make_splits


def test_a_graph_in_pieces_is_told_on_the_terminal_and_in_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The images of the two classes differ by 100 in every value, so three neighbours never lead from one to the other."""
    splits = make_splits()
    method = create("le-pixels", {"dim": 4, "graph_k": 3}, (3, 16, 16))
    method.fit(FitContext(splits, tmp_path, device="cpu", progress=False, title="eigenmaps, seed 0"))
    found = json.loads((tmp_path / "graph.json").read_text())
    assert found["n_components"] == 2
    note = "the neighbour graph had 2 components; they were joined by their shortest edges"
    assert found["note"] == note and capsys.readouterr().err == f"note: eigenmaps, seed 0: {note}.\n"
    assert np.isfinite(method.embed(splits.test.images)["eigenmap"]).all()


def test_dimension_and_neighbours_are_cut_to_what_the_images_allow(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    create("le-pixels", {"dim": 500, "graph_k": 500}, (3, 16, 16)).fit(
        FitContext(make_splits(), tmp_path, device="cpu")
    )
    found = json.loads((tmp_path / "graph.json").read_text())
    assert (found["dim"], found["k"], found["n_components"]) == (46, 47, 1) and not capsys.readouterr().err
