"""Evaluations as files: what is written reads back the same, older files read, damaged ones are named."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from nearkin.errors import DamagedFile
from nearkin.evaluate.evaluation import MEASURES, PROBES, Evaluation, LayerEvaluation, read_evaluation
from nearkin.fileio import from_json, to_json, write_json

OLD = sorted((Path(__file__).parents[1] / "old").glob("*/study/runs/*/evaluation.json"))


@pytest.mark.parametrize("path", OLD, ids=lambda path: path.parent.name)
def test_files_of_older_versions_read_and_write_back_the_same(path: Path) -> None:
    assert to_json(read_evaluation(path)) == json.loads(path.read_text())


def test_entries_that_older_files_lack_are_none() -> None:
    raw: dict[str, Any] = json.loads(OLD[0].read_text())
    layer = next(iter(raw["layers"].values()))
    for name in ("linear_sgd_standardised", "entanglement", "maps"):
        layer.pop(name, None)
    made = from_json(LayerEvaluation, layer | {"of the future": 1})
    assert made.linear_sgd_standardised is None and made.entanglement is None and made.maps == {}


@pytest.mark.parametrize(
    ("path", "value", "named"),
    [
        ((), [], "Evaluation"),
        (("seed",), True, "seed"),
        (("primary_layer",), "no such layer", "no such layer"),
        (("layers", 0, "dim"), 1.5, "dim"),
        (("layers", 0, "health"), None, "health"),
        (("layers", 0, "health", "rankme"), float("nan"), "health.rankme"),
        (("layers", 0, "linear", "interval"), [0.1], "linear.interval"),
        (("layers", 0, "knn"), "text", "knn"),
    ],
)
def test_what_is_no_evaluation_is_told(path: tuple[Any, ...], value: Any, named: str, tmp_path: Path) -> None:
    raw: Any = copy.deepcopy(json.loads(OLD[-1].read_text()))
    place = raw
    for step in path[:-1]:
        place = list(place.values())[step] if isinstance(step, int) else place[step]
    if path:
        place[path[-1]] = value
    (tmp_path / "evaluation.json").write_text(json.dumps(raw if path else value))
    with pytest.raises(DamagedFile, match=named):
        read_evaluation(tmp_path / "evaluation.json")


def test_every_measure_stands_in_an_evaluation(tmp_path: Path) -> None:
    evaluation = read_evaluation(OLD[-1])
    layer = evaluation.primary
    for name, measure in MEASURES.items():
        group, key = measure.path
        assert measure.of(layer) == to_json(evaluation)["layers"][evaluation.primary_layer][group][key], name
    assert [layer.probe(name) is not None for name in PROBES] == [True] * 4
    write_json(tmp_path / "evaluation.json", to_json(evaluation))
    assert isinstance(read_evaluation(tmp_path / "evaluation.json"), Evaluation)
