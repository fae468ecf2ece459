"""The log of metrics is rewound exactly; TensorBoard reads from the event files what it says, after kills too."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from nearkin.errors import ConfigError, DataError, OutputError
from nearkin.train.record import MetricsLog, event_files, need_tensorboard, write_events

LINES = [
    {"kind": "step", "step": 1, "epoch": 0.5, "lr": 0.1, "seconds": 1.0, "loss": 4.0},
    {"kind": "step", "step": 2, "epoch": 1.0, "lr": 0.2, "seconds": 2.0, "loss": 3.0},
    {"kind": "epoch", "epoch": 1, "split": "train", "seconds": 2.0, "loss": 3.5},
    {"kind": "epoch", "epoch": 1, "split": "val", "seconds": 2.0, "loss": 3.6, "knn": 0.5},
    {"kind": "diagnosis", "epoch": 1, "state": "fine", "message": "all is well"},
    {"kind": "step", "step": 3, "epoch": 1.5, "lr": 0.1, "seconds": 3.5, "loss": 2.0},
    {"kind": "step", "step": 4, "epoch": 2.0, "lr": 0.0, "seconds": 4.0, "loss": 1.0},
    {"kind": "epoch", "epoch": 2, "split": "train", "seconds": 4.0, "loss": 1.5},
    {"kind": "test", "epoch": 1, "loss": 3.7},
    {"kind": "test", "epoch": 2, "loss": 1.7},
]
TAGS = {
    "step/loss": [(1, 4.0), (2, 3.0), (3, 2.0), (4, 1.0)],
    "step/lr": [(1, 0.1), (2, 0.2), (3, 0.1), (4, 0.0)],
    "train/loss": [(2, 3.5), (4, 1.5)],
    "val/loss": [(2, 3.6)],
    "val/knn": [(2, 0.5)],
    "test/loss": [(2, 3.7), (4, 1.7)],
}


def write(folder: Path, lines: list[dict[str, Any]], mode: str = "w") -> None:
    with open(folder / "metrics.jsonl", mode) as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)


def read(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """(step, value) by tag, as TensorBoard's own reader finds them."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    found = accumulator.EventAccumulator(str(folder)).Reload()
    return {tag: [(e.step, round(e.value, 5)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def test_every_number_arrives_at_its_step(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "inner").mkdir()
    write(tmp_path, LINES)
    write(tmp_path / "inner", LINES[:2])
    write_events(tmp_path)
    assert read(tmp_path) == TAGS and read(tmp_path / "inner") == {
        tag: TAGS[tag][:2] for tag in ("step/loss", "step/lr")
    }


def test_following_adds_only_what_is_new(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    with event_files(tmp_path) as follow:
        follow()
        for line in LINES:
            write(tmp_path, [line], "a")
            follow()
    assert read(tmp_path) == TAGS


def test_a_start_replaces_what_a_kill_left_but_no_one_elses_files(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    write(tmp_path, [line | {"loss": 9.0} for line in LINES])
    write_events(tmp_path)
    (tmp_path / "events.out.tfevents.0.other").write_bytes(b"")
    write(tmp_path, LINES)
    write_events(tmp_path)
    assert read(tmp_path) == TAGS and (tmp_path / "events.out.tfevents.0.other").exists()
    assert len(list(tmp_path.glob("events.out.*"))) == 2


def test_without_the_package_and_without_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with event_files(tmp_path, enabled=False) as follow:
        follow()
    assert list(tmp_path.iterdir()) == []
    if importlib.util.find_spec("tensorboard") is not None:
        (tmp_path / "file").write_text("")
        with pytest.raises(OutputError, match="cannot write event files"), event_files(tmp_path / "file" / "run"):
            pass
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'nearkin\[tensorboard\]'"):
        need_tensorboard()


def test_record_rewinds_to_a_position(tmp_path: Path) -> None:
    record = MetricsLog(tmp_path / "m.jsonl")
    record.append({"kind": "step", "step": 1}, {"kind": "epoch", "step": 1})
    position = record.position
    record.append({"kind": "step", "step": 2})
    record.rewind(position)
    assert [line["kind"] for line in record.read()] == ["step", "epoch"]
    assert record.read(kind="epoch") == [{"kind": "epoch", "step": 1}]


def test_a_line_cut_off_by_a_kill_is_none_and_the_next_takes_its_place(tmp_path: Path) -> None:
    record = MetricsLog(tmp_path / "m.jsonl")
    record.append({"kind": "step", "step": 1})
    with open(record.path, "a") as file:
        file.write('{"kind": "st')
    assert [line["step"] for line in record.read(kind="step")] == [1]
    record.append({"kind": "step", "step": 2})
    assert [line["step"] for line in record.read(kind="step")] == [1, 2]
    with open(record.path, "a") as file:
        file.write("no JSON\n")
    with pytest.raises(DataError, match="cannot be read"):
        record.read()
