"""Part by part gives the vectors of the whole set; what is there stays; what is damaged is told."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from nearkin.data import imageset as imageset_module
from nearkin.data.shards import OnSkip
from nearkin.embeddings import PARTS, Embeddings
from nearkin.errors import DataError
from nearkin.fileio import exclusive
from nearkin.runs import bulk
from nearkin.runs.bulk import Work, write_part
from nearkin.runs.run import Run
from nearkin.train.checkpoint import load_tensors
from tests.cli.inprocess import invoke
from tests.data.conftest import pixels, tar_files, write_tar
from tests.runs.bulk_runs import COUNTS, fit

IMAGES = np.stack([pixels(i) for i in range(sum(COUNTS))])


def test_training_from_a_store_is_training_from_memory(
    run_and_shards: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = run_and_shards
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=[("even", "odd")[i % 2] for i in range(len(IMAGES))])
    invoke("data", "ingest", source, "-o", str(tmp_path / "store"))
    monkeypatch.setattr(imageset_module, "RESIDENT", 0)  # every choice of rows stays on disk
    runs = [run, *(fit(str(tmp_path / name), tmp_path / f"{name}-run") for name in ("x.npz", "store"))]
    first, *others = (load_tensors(folder / "weights.safetensors")[0] for folder in runs)
    assert all(torch.equal(first[name], other[name]) for name in first for other in others)


def test_shards_into_a_folder(run_and_shards: tuple[Path, str], tmp_path: Path) -> None:
    run, source = run_and_shards
    text = invoke("embed", str(run), source, "-o", str(tmp_path / "out"), "--device", "cpu")
    assert "30 vectors in 3 new parts" in text and len(list((tmp_path / "out").glob("*.parquet"))) == 3
    found = Embeddings.load(tmp_path / "out")
    assert found.ids[[0, 12, 19]].tolist() == ["s-0.tar/0000", "s-1.tar/0012", "s-2.tar/0019"]
    assert found.labels is not None and found.classes == ("even", "odd")
    assert found.labels.tolist() == [i % 2 for i in range(30)] and set(found.split.tolist()) == {"train"}
    assert found.provenance["method"] == "vicreg" and found.provenance["layer"] == "backbone"
    assert np.allclose(found.Z, Run(run).open(device="cpu")(IMAGES), rtol=1e-5, atol=1e-5)


def test_finished_parts_are_left_alone(run_and_shards: tuple[Path, str], tmp_path: Path) -> None:
    run, source = run_and_shards
    out = tmp_path / "out"
    invoke("embed", str(run), source, "-o", str(out))
    files = sorted(out.glob("*.parquet"))
    whole = Embeddings.load(out)
    files[1].unlink()
    with pytest.raises(DataError, match="lacks 1 of its 3 parts, first s-1.tar-.*Run the same 'nearkin embed' again"):
        Embeddings.load(out)
    stamps = [files[k].stat().st_mtime_ns for k in (0, 2)]
    assert "7 vectors in 1 new parts; 2 parts were there" in invoke("embed", str(run), source, "-o", str(out))
    assert stamps == [files[k].stat().st_mtime_ns for k in (0, 2)]
    assert np.array_equal(Embeddings.load(out).Z, whole.Z)
    one = str(next(Path(source).parent.glob("s-2.tar")))
    assert "1 parts were there" in invoke("embed", str(run), one, "-o", str(out))  # a part of it is no other set
    assert len(Embeddings.load(out)) == 30


def test_ranks_share_the_parts(
    run_and_shards: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = run_and_shards
    monkeypatch.setenv("WORLD_SIZE", "2")
    texts = []
    for rank in ("0", "1"):
        monkeypatch.setenv("RANK", rank)
        texts.append(invoke("embed", str(run), source, "-o", str(tmp_path / "out")))
    assert "23 vectors in 2 new parts" in texts[0] and "7 vectors in 1 new parts" in texts[1]
    assert len(Embeddings.load(tmp_path / "out")) == 30


def test_a_damaged_shard_does_not_stop_the_others(run_and_shards: tuple[Path, str], tmp_path: Path) -> None:
    run, source = run_and_shards
    shards = Path(shutil.copytree(Path(source).parent, tmp_path / "shards"))
    whole = (shards / "s-0.tar").read_bytes()
    (shards / "s-0.tar").write_bytes(whole[:700])
    write_tar(shards / "s-3.tar", [("0.png", b"no image"), *tar_files([40])])
    write_tar(shards / "s-4.tar", [("0.png", b"no image")])
    given = ("embed", str(run), str(shards / "*.tar"), "-o", str(tmp_path / "out"))
    assert "1 of 5 parts cannot be read; first: " in invoke(*given, code=3)
    assert len(list((tmp_path / "out").glob("*.parquet*"))) == 4
    (shards / "s-0.tar").write_bytes(whole)
    assert "12 vectors in 1 new parts; 4 parts were there" in invoke(*given)
    assert len(Embeddings.load(tmp_path / "out")) == 31
    shutil.rmtree(tmp_path / "out")
    assert "2 unreadable images left out, first s-3.tar/0: not an image" in invoke(*given)
    shutil.rmtree(tmp_path / "out")
    assert "s-3.tar/0: not an image (--strict)" in invoke(*given, "--strict", code=3)


def test_what_changed_is_embedded_anew_and_what_vanished_goes(
    run_and_shards: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Images and labels are part of a part's identity, in folders and in shards."""
    run, source = run_and_shards
    shards, out = Path(shutil.copytree(Path(source).parent, tmp_path / "shards")), tmp_path / "out"
    given = ("embed", str(run), str(shards / "*.tar"), "-o", str(out))
    invoke(*given)
    write_tar(shards / "s-1.tar", tar_files([50, 51]))
    (shards / "s-2.tar").unlink()
    assert (
        "2 vectors in 1 new parts; 1 parts were there; 1 replace parts of other images or labels; 1 parts deleted"
        in (invoke(*given))
    )
    assert Embeddings.load(out).ids[-2:].tolist() == ["s-1.tar/0050", "s-1.tar/0051"]
    monkeypatch.setattr(bulk, "ROWS", 10)
    images = np.stack([pixels(i) for i in range(40)])
    np.savez(tmp_path / "x.npz", images=images, labels=np.arange(40) % 2)
    given = ("embed", str(run), str(tmp_path / "x.npz"), "-o", str(tmp_path / "rows"))
    assert "40 vectors in 6 new parts" in invoke(*given)
    bulk.splits_of.cache_clear()
    assert "0 vectors in 0 new parts; 6 parts were there" in invoke(*given)
    np.savez(tmp_path / "x.npz", images=images, labels=np.where(np.arange(40) % 2, "odd", "even"))
    bulk.splits_of.cache_clear()
    assert "6 replace parts of other images or labels" in invoke(*given)
    assert Embeddings.load(tmp_path / "rows").classes == ("even", "odd")
    np.savez(tmp_path / "x.npz", images=images[:20], labels=(np.arange(40) % 2)[:20])
    bulk.splits_of.cache_clear()
    assert "parts deleted, whose images are gone" in invoke(*given)
    assert len(Embeddings.load(tmp_path / "rows")) == 20


def test_two_writers_of_one_part_do_not_mix(run_and_shards: tuple[Path, str], tmp_path: Path) -> None:
    """A cluster may take a worker for dead that goes on: the second begins and ends while the first is in the middle."""
    run, source = run_and_shards
    part, *_ = bulk.parts_of(bulk.Source(source, None, 16, False, None, False))
    embed = Run(run).open(device="cpu")
    work = Work(run, tmp_path, "backbone", 16, {}, False)
    whole = write_part(work, part, embed)
    before = work.file(part).read_bytes()

    @dataclass(frozen=True)
    class Slow:
        name: str = part.name
        content: str = part.content

        def batches(self, size: int, on_skip: OnSkip) -> Iterator[bulk.Batch]:
            for batch in part.batches(size, on_skip):
                assert write_part(work, part, embed) == whole and work.file(part).read_bytes() == before
                yield batch

    work.file(part).unlink()
    assert write_part(work, Slow(), embed) == whole and work.file(part).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [work.file(part).name]


def test_a_second_process_is_told_and_what_a_kill_left_is_deleted(
    run_and_shards: tuple[Path, str], tmp_path: Path
) -> None:
    run, source = run_and_shards
    given = ("embed", str(run), source, "-o", str(tmp_path / "out"))
    with exclusive(tmp_path / "out"):
        assert "another nearkin process is writing to" in invoke(*given, code=4)
    left = tmp_path / "out" / "s-0.tar-1.parquet.0123.tmp"
    left.write_text("")
    invoke(*given)
    assert not left.exists()


def test_a_list_of_parts_that_lies(run_and_shards: tuple[Path, str], tmp_path: Path) -> None:
    run, source = run_and_shards
    invoke("embed", str(run), source, "-o", str(tmp_path / "out"))
    for name in ("x" * 5000, "../out/x", "\0", 3, None, ["a"]):
        (tmp_path / "out" / PARTS).write_text(json.dumps({"provenance": {}, "parts": [name]}))
        with pytest.raises(DataError, match="lacks 1 of its 1 parts"):
            Embeddings.load(tmp_path / "out")


def test_a_set_without_shards_goes_into_a_folder_too(
    run_and_shards: tuple[Path, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = run_and_shards
    np.savez(tmp_path / "x.npz", images=IMAGES, labels=[i % 3 for i in range(len(IMAGES))])
    given = ("embed", str(run), str(tmp_path / "x.npz"), "--device", "cpu", "-o")
    invoke(*given, str(tmp_path / "one.parquet"))
    monkeypatch.setattr(bulk, "ROWS", 10)
    monkeypatch.setattr(bulk, "BATCH", 4)
    assert "30 vectors in 5 new parts" in invoke(*given, str(tmp_path / "many"))
    one, many = Embeddings.load(tmp_path / "one.parquet"), Embeddings.load(tmp_path / "many")
    order = [one.ids.tolist().index(name) for name in many.ids]
    assert sorted(order) == list(range(30)) and np.allclose(one.Z[order], many.Z, rtol=1e-5, atol=1e-5)
    assert one.split[order].tolist() == many.split.tolist()
    assert one.take(np.array(order)).names() == many.names()


def test_refusals(run_and_shards: tuple[Path, str], tmp_path: Path) -> None:
    run, source = run_and_shards
    given = ("embed", str(run), source, "-o")
    out = str(tmp_path / "out")
    assert "folder; give one without the suffix" in invoke(*given, str(tmp_path / "x.parquet"), code=2)
    assert "Did you mean 'ray'" in invoke(*given, out, "--engine", "raay", code=2)
    assert "sets without shards" in invoke(*given, out, "--subset", "10", code=2)
    assert "unknown layer 'bakbone'" in invoke(*given, out, "--layer", "bakbone", code=2)
    assert not Path(out).exists()
    invoke(*given, out)
    assert "another run, layer or set" in invoke(*given, out, "--layer", "projector", code=2)
    (tmp_path / "file").write_text("")
    assert "cannot write" in invoke(*given, str(tmp_path / "file"), code=4)
    with pytest.raises(DataError, match="no embeddings at"):
        Embeddings.load(run)
