"""Full disks, read-only folders, files that vanish, kills: nothing half-written passes for whole."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from nearkin import data as nd
from nearkin.data import folder
from nearkin.data.folder import list_folder
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError, OutputError
from nearkin.fileio import claim, exclusive, write_json, write_npz, write_text
from nearkin.runs.check import examine
from nearkin.study.study import StudyConfig, run_study
from nearkin.train.checkpoint import save_tensors
from nearkin.train.record import MetricsLog
from tests.fuzz.files import image_file

ROOT = Path(__file__).parents[1]
FULL = Path("/dev/full")  # every write to it fails as on a full disk


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
@pytest.mark.parametrize("name", ["text", "json", "npz", "vectors"])
def test_a_full_disk_is_told_and_leaves_the_old_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "out"
    vectors = Embeddings(np.zeros((3, 2), np.float32), np.array(list("abc")), None, np.array(["test"] * 3))
    writes = {
        "text": lambda: write_text(path, "new"),
        "json": lambda: write_json(path, {"new": 1}),
        "npz": lambda: write_npz(path, {"new": np.zeros(9)}),
        "vectors": lambda: vectors.save(path),
    }
    path.write_text("old")
    (tmp_path / "out.tmp").symlink_to(FULL)
    with pytest.raises(OutputError, match="cannot write .*out"):
        writes[name]()
    assert path.read_text() == "old" and not (tmp_path / "out.tmp").exists()
    writes[name]()
    assert path.read_bytes() != b"old"


def test_weights_that_find_no_room_leave_the_old_ones(tmp_path: Path) -> None:
    """safetensors writes past links, so the room is limited by the process's largest file instead."""
    resource = pytest.importorskip("resource")
    path = tmp_path / "weights.safetensors"
    save_tensors(path, {"old": torch.zeros(9)}, {})
    before, limit = path.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limit[1]))
    try:
        with pytest.raises(OutputError, match=r"cannot write .*weights\.safetensors"):
            save_tensors(path, {"new": torch.zeros(10_000)}, {})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)
    assert path.read_bytes() == before and [item.name for item in tmp_path.iterdir()] == [path.name]


@pytest.mark.skipif(not FULL.exists(), reason="no /dev/full here")
def test_metrics_on_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").symlink_to(FULL)
    with pytest.raises(OutputError, match=r"cannot write .*metrics\.jsonl"):
        MetricsLog(tmp_path / "metrics.jsonl").append({"kind": "step"})


def test_a_folder_that_cannot_be_written_is_told_before_anything_runs(tmp_path: Path) -> None:
    if os.geteuid() == 0:  # permissions do not bind root; the kernel's own folders do
        locked = Path("/proc")
    else:
        locked = tmp_path / "locked"
        locked.mkdir(mode=0o500)
    for out in (locked, locked / "new"):
        with pytest.raises(OutputError, match="cannot write to"):
            claim(out)


def a_set(tmp_path: Path) -> Path:
    source = tmp_path / "set"
    source.mkdir()
    for name in ("a", "b", "c"):
        (source / f"{name}.png").write_bytes(image_file(value=ord(name)))
    return source


def ids(source: Path, tmp_path: Path) -> list[str]:
    found: list[str] = nd.load(str(source), cache=tmp_path / "cache", size=16, progress=False).train.ids.tolist()
    return found


@pytest.mark.parametrize("at", [1, 2])
def test_files_that_vanish_while_loading_are_listed_and_not_remembered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    """At the first reading (hashing) or the second (decoding) of b.png; it comes back as it was."""
    source = a_set(tmp_path)
    kept = tmp_path / "kept.png"
    reads = iter(range(100))

    def vanishing(root: Path) -> folder.ImageFiles:
        found = list_folder(root)

        def read(path: str) -> bytes:
            if path == "b.png" and next(reads) == at - 1:
                os.rename(source / path, kept)
            return found.read(path)

        return replace(found, read=read)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "list_folder", vanishing)
        found = nd.load(str(source), cache=tmp_path / "cache", size=16, progress=False)
    assert found.train.ids.tolist() == ["a.png", "c.png"] and found.skipped[0].path == "b.png"
    os.rename(kept, source / "b.png")
    assert ids(source, tmp_path) == ["a.png", "b.png", "c.png"]


def test_a_networks_hiccup_is_not_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The listing stays the same; only the reading fails, this once."""
    source = a_set(tmp_path)

    def failing(root: Path) -> folder.ImageFiles:
        def read(path: str) -> bytes:
            if path == "b.png":
                raise folder.Unread("Input/output error")
            return (root / path).read_bytes()

        return replace(list_folder(root), read=read)

    with monkeypatch.context() as patch:
        patch.setattr(folder, "list_folder", failing)
        assert ids(source, tmp_path) == ["a.png", "c.png"]
    assert ids(source, tmp_path) == ["a.png", "b.png", "c.png"]


def test_a_change_with_its_time_set_back_is_noticed(tmp_path: Path) -> None:
    """Same name, size and modification time, as after a clock's jump: only the entry's own time differs."""
    source = a_set(tmp_path)
    size = len((source / "a.png").read_bytes())
    before = nd.load(str(source), cache=tmp_path / "cache", size=16, progress=False)
    told = (source / "a.png").stat()
    (source / "a.png").write_bytes((source / "b.png").read_bytes()[:size].ljust(size, b"\0"))
    os.utime(source / "a.png", ns=(told.st_atime_ns, told.st_mtime_ns))
    after = nd.load(str(source), cache=tmp_path / "cache", size=16, progress=False)
    assert after.fingerprint != before.fingerprint


def test_what_a_kill_left_of_another_study_is_not_taken_over(tmp_path: Path) -> None:
    """data.json is written before study.json; a kill between the two leaves the first alone."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images)
    write_json(tmp_path / "out" / "data.json", {"name": "another", "study_splits": {}})
    config = StudyConfig(str(tmp_path / "set.npz"), "quick", ("raw-pixels",), (0,))
    run_study(config, tmp_path / "out", progress=False, say=lambda text: None)
    assert json.loads((tmp_path / "out" / "data.json").read_text())["name"] == "set"
    assert all(found.state == "finished" for found in examine(tmp_path / "out"))


def test_classes_of_other_names_are_another_study(tmp_path: Path) -> None:
    """The labels' numbers, and so the digest, are the same."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    config = StudyConfig(str(tmp_path / "set.npz"), "quick", ("raw-pixels",), (0,))
    np.savez(tmp_path / "set.npz", images=images, labels=list("ab") * 20)
    run_study(config, tmp_path / "out", progress=False, say=lambda text: None)
    np.savez(tmp_path / "set.npz", images=images, labels=list("cd") * 20)
    with pytest.raises(ConfigError, match="the names of the classes of .* have changed since the study"):
        run_study(config, tmp_path / "out", progress=False, say=lambda text: None)


def test_two_studies_in_one_folder(tmp_path: Path) -> None:
    """The second is refused before it writes, with what to do; the folder is as it was."""
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8), dtype=np.uint8)
    np.savez(tmp_path / "set.npz", images=images)
    config = StudyConfig(str(tmp_path / "set.npz"), "quick", ("raw-pixels",), (0,))
    with (
        exclusive(tmp_path / "out"),
        pytest.raises(
            OutputError, match="another nearkin process is writing to .*Wait for it to end, or choose another -o"
        ),
    ):
        run_study(config, tmp_path / "out", progress=False, say=lambda text: None)
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".lock"]


@pytest.mark.slow
def test_a_study_killed_at_random_moments_ends_as_one_that_was_not() -> None:
    """Five kills here; a hundred by the command itself."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "kill.py"), "--kills", "5"],
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("5 kills")
