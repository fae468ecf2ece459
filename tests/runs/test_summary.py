"""What is listed is what the files say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from nearkin.errors import DataError
from nearkin.runs.check import describe_run, summarize_study
from nearkin.runs.readers import read_curves
from nearkin.runs.run import Run, Study, find_runs


def test_find_studies_and_single_runs_but_not_other_tools_folders(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / "runs" / "vicreg-s0", tmp_path / "deep" / "er" / "one")
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text('{"model_type": "bert"}')
    (tmp_path / "loop").symlink_to(tmp_path)
    studies, runs = find_runs(tmp_path)
    assert studies == [Study(study)] and runs == [Run(tmp_path / "deep" / "er" / "one")]
    with pytest.raises(DataError, match="no folder"):
        find_runs(tmp_path / "none")


def test_a_summary_has_the_results_numbers(study: Path) -> None:
    results = json.loads((study / "results.json").read_text())
    row = next(row for row in results["table"] if row["method"] == "vicreg")
    found = summarize_study(study)
    assert (found.state, found.done, found.planned, found.data) == ("finished", 2, 2, results["data"]["name"])
    run = next(run for run in found.runs if run.method == "vicreg")
    assert run.accuracy == row["linear"]["mean"] and list(run.interval or ()) == row["linear"]["interval"]
    assert (run.seed, run.epochs, run.epochs_planned, run.layer) == (0, 2, 2, "backbone")
    pixels = next(run for run in found.runs if run.method == "raw-pixels")
    assert pixels.epochs is None and pixels.state == "finished"


def test_html_of_a_run_is_escaped(study: Path) -> None:
    config = json.loads((study / "runs/vicreg-s0/config.json").read_text())
    (study / "runs/vicreg-s0/config.json").write_text(json.dumps(config | {"method": "<script>"}))
    text = describe_run(study / "runs/vicreg-s0")._repr_html_()
    assert "&lt;script&gt;" in text and "<script>" not in text and "linear probe" in text
    with pytest.raises(DataError, match="is no run"):
        describe_run(study)


def test_a_run_shows_its_curves_and_whatever_the_file_holds(study: Path) -> None:
    run = study / "runs" / "vicreg-s0"
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    wanted = [(line["epoch"], line["loss"]) for line in lines if line["kind"] == "epoch" and line["split"] == "val"]
    found = read_curves(run / "metrics.jsonl")
    assert found["loss"]["val"] == wanted and len(found["loss"]["train"]) == 2
    assert set(found["kNN accuracy"]) == {"val"}
    assert describe_run(run)._repr_html_().count("<polyline") == 3
    junk = b'{"kind": "epoch", "epoch": NaN, "split": "val", "loss": 1}\nnot json\n[1]\n{"kind": "epoch", "epoch": 1, "split": ["val"]}\n'
    (run / "metrics.jsonl").write_bytes(junk + b"\xff\xfe\n" + b"[" * 100_000)
    assert read_curves(run / "metrics.jsonl") == {} and "<polyline" not in describe_run(run)._repr_html_()
    assert describe_run(study / "runs" / "raw-pixels-s0")._repr_html_().count("<svg") == 0
