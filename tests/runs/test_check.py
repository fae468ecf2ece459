"""Planted damage of every kind is found, named and told what to do about; what is listed is what the files say."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from nearkin.embeddings import Embeddings
from nearkin.errors import DataError
from nearkin.runs.check import check_run, describe_run, examine, summarize_run, summarize_study
from nearkin.runs.readers import read_curves
from nearkin.runs.run import Run, Study, find_runs

RUN = "runs/vicreg-s0"


def broken(study: Path) -> list[str]:
    found = [f for checked in examine(study) for f in checked.findings if f.level == "broken"]
    assert all(f.fix and "\n" not in f.what + f.fix for f in found)
    return [f"{f.path.relative_to(study)}: {f.what}" for f in found]


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size - 100)


def edit(path: Path) -> None:
    value = json.loads(path.read_text())
    value["layers"]["backbone"]["linear"]["accuracy"] = 0.999
    path.write_text(json.dumps(value))


def insert_line(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], "{garbage", *lines[3:]]) + "\n")


def swap_steps(path: Path) -> None:
    lines = path.read_text().splitlines()
    path.write_text("\n".join([lines[1], lines[0], *lines[2:]]) + "\n")


def end_early(path: Path) -> None:
    lines = [line for line in path.read_text().splitlines() if json.loads(line).get("epoch", 0) <= 1]
    path.write_text("\n".join(lines) + "\n")


def fewer_rows(path: Path) -> None:
    made = Embeddings.load(path)
    made.take(np.arange(len(made) - 5)).save(path)


def other_width(path: Path) -> None:
    made = Embeddings.load(path)
    Embeddings(made.Z[:, :4], made.ids, made.labels, made.split, made.classes).save(path)


def not_finite(path: Path) -> None:
    made = Embeddings.load(path)
    made.Z[3, 1] = np.nan
    made.save(path)


def no_column(path: Path) -> None:
    pq.write_table(pq.read_table(path).drop_columns(["split"]), path)


def twice(path: Path) -> None:
    made = Embeddings.load(path)
    made.ids[1] = made.ids[0]
    made.save(path)


def flip_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 3] ^= 255
    path.write_bytes(bytes(content))


DAMAGE: list[tuple[str, Callable[[Path], object], str]] = [
    (f"{RUN}/weights.safetensors", truncate, "cut off"),
    (f"{RUN}/weights.safetensors", lambda p: os.truncate(p, 5), "cut off"),
    (f"{RUN}/weights.safetensors", lambda p: p.write_bytes(b"\xff" * 64), "cut off"),
    (f"{RUN}/weights.safetensors", lambda p: p.write_bytes((2).to_bytes(8, "little") + b"[]"), "cannot be read"),
    (f"{RUN}/weights.safetensors", Path.unlink, "is missing"),
    (f"{RUN}/evaluation.json", Path.unlink, "is missing"),
    (f"{RUN}/evaluation.json", edit, "not what the run wrote"),
    (f"{RUN}/evaluation.json", lambda p: p.write_text("[" * 100_000), "cannot be read"),
    (f"{RUN}/evaluation.json", lambda p: p.write_text("[]"), "no JSON object"),
    (f"{RUN}/evaluation.json", lambda p: p.write_bytes(b"\xff\xfe{}"), "cannot be read"),
    (f"{RUN}/done.json", lambda p: p.write_text("{"), "cannot be read"),
    (f"{RUN}/config.json", Path.unlink, "is missing"),
    (f"{RUN}/metrics.jsonl", insert_line, "line 4 is no JSON object"),
    (f"{RUN}/metrics.jsonl", swap_steps, "step 1 follows step 2"),
    (f"{RUN}/metrics.jsonl", end_early, "ends at epoch 1 of 2"),
    (f"{RUN}/metrics.jsonl", lambda p: os.truncate(p, p.stat().st_size - 7), "cut off"),
    (f"{RUN}/metrics.jsonl", Path.unlink, "is missing"),
    (f"{RUN}/maps.npz", flip_byte, "maps.npz"),
    (f"{RUN}/maps.npz", truncate, "cannot be read"),
    (f"{RUN}/embeddings/backbone.parquet", truncate, "cannot be read"),
    (f"{RUN}/embeddings/projector.parquet", Path.unlink, "is missing"),
    (f"{RUN}/embeddings/backbone.parquet", fewer_rows, "data.json says test 30"),
    (f"{RUN}/embeddings/backbone.parquet", other_width, "holds 4 dimensions"),
    (f"{RUN}/embeddings/backbone.parquet", not_finite, "NaN"),
    (f"{RUN}/embeddings/backbone.parquet", no_column, "no column split"),
    (f"{RUN}/embeddings/backbone.parquet", twice, "id occurs before"),
    ("data.json", lambda p: p.write_text("nul"), "cannot be read"),
    ("study.json", lambda p: p.write_text('{"config": {"methods": [3], "seeds": ["x"]}}'), "does not say"),
    ("study.json", Path.unlink, "is missing"),
    ("results.json", Path.unlink, "is missing"),
    ("thumbnails.npz", truncate, "cannot be read"),
    ("uses.json", lambda p: p.write_text("{}}"), "cannot be read"),
]


def test_a_whole_study_has_no_findings(study: Path) -> None:
    checks = examine(study)
    assert [c.folder.name for c in checks] == ["study", "raw-pixels-s0", "vicreg-s0"]
    assert all(c.state == "finished" and not c.findings for c in checks), [c.findings for c in checks]


@pytest.mark.parametrize(("name", "damage", "words"), DAMAGE)
def test_damage_is_found_where_it_is(study: Path, name: str, damage: Callable[[Path], object], words: str) -> None:
    damage(study / name)
    found = broken(study)
    assert any(line.startswith(name) and words in line for line in found), found
    assert all(line.startswith((name, "data.json")) for line in found), found  # nothing else is blamed


def test_the_weights_that_pass_are_those_that_the_library_reads(study: Path) -> None:
    from safetensors.numpy import load_file

    from nearkin.runs.readers import check_safetensors

    path = study / RUN / "weights.safetensors"
    assert check_safetensors(path) == len(load_file(path))


def test_a_pipe_is_not_waited_for(study: Path) -> None:
    path = study / RUN / "evaluation.json"
    path.unlink()
    os.mkfifo(path)
    assert any("not a regular file" in line for line in broken(study))


def test_a_layer_cannot_lead_out_of_the_folder(study: Path) -> None:
    path = study / RUN / "evaluation.json"
    value = json.loads(path.read_text())
    value["layers"]["../../../x\x1b[31m"] = {}
    path.write_text(json.dumps(value))
    found = broken(study)
    assert any("impossible layer" in line for line in found) and "\x1b" not in "".join(found)


def test_leftovers_are_told_and_break_nothing(study: Path) -> None:
    (study / RUN / "evaluation.json.tmp").write_text("half")
    (study / RUN / "embeddings" / "backbone.parquet.tmp").write_text("half")
    (study / "results.json.tmp").write_text("half")
    checks = examine(study)
    warned = {f.path.name for c in checks for f in c.findings if f.level == "warning" and "left over" in f.what}
    assert warned == {"evaluation.json.tmp", "backbone.parquet.tmp", "results.json.tmp"}
    assert all(c.state == "finished" for c in checks)


def test_interrupted_is_not_broken(study: Path) -> None:
    (study / RUN / "done.json").unlink()
    found = check_run(study / RUN)
    assert found.state == "interrupted" and "trained, not evaluated" in found.findings[0].what
    (study / RUN / "weights.safetensors").unlink()
    os.truncate(study / RUN / "metrics.jsonl", 400)
    found = check_run(study / RUN)
    assert found.state == "interrupted" and any("in the middle of training" in f.what for f in found.findings)
    checks = examine(study)
    assert checks[0].state == "interrupted" and any("1 of 2 runs done" in f.what for f in checks[0].findings)
    assert not broken(study)


def test_neither_run_nor_study(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(DataError, match="neither a run nor a study"):
        examine(tmp_path)


def test_bytes_flipped_anywhere_never_crash(study: Path) -> None:
    """Each file of a run, overwritten with noise at a random place: a state comes back, whatever it is."""
    rng = np.random.default_rng(0)
    files = sorted(p for p in study.rglob("*") if p.is_file() and p.suffix in (".json", ".jsonl", ".npz", ".parquet"))
    for path in files:
        original = path.read_bytes()
        for _ in range(4):
            content = bytearray(original)
            start = int(rng.integers(len(content)))
            noise = rng.integers(0, 256, min(40, len(content) - start), dtype=np.uint8).tobytes()
            content[start : start + len(noise)] = noise
            path.write_bytes(bytes(content))
            assert all(c.state in ("finished", "interrupted", "broken") for c in examine(study))
            summarize_study(study)
        path.write_bytes(original)
    assert not broken(study)


def test_a_summary_survives_wrong_types(study: Path) -> None:
    for value in (
        {"method": 3, "seed": "x", "settings": []},
        {"method": ["a"], "seed": 1e400, "settings": {"epochs": "x"}},
    ):
        (study / RUN / "config.json").write_text(json.dumps(value))
        for layers in ([], {"backbone": 3}, {"backbone": {"linear": {"accuracy": "high", "interval": [1]}}}):
            evaluation = {"primary_layer": "backbone", "layers": layers}
            (study / RUN / "evaluation.json").write_text(json.dumps(evaluation))
            found = summarize_run(study / RUN)
            assert found.state == "broken" and found.accuracy is None


def test_a_run_alone_is_checked_too(study: Path, tmp_path: Path) -> None:
    shutil.copytree(study / RUN, tmp_path / "alone" / "vicreg-s0")
    (found,) = examine(tmp_path / "alone" / "vicreg-s0")
    assert found.state == "finished" and not found.findings


# What is listed


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
