"""Two Ray nodes on this machine embed what one process does, also when a worker is killed in the middle of a part, or a
whole node is."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nearkin.data.shards import OnSkip
from nearkin.embeddings import Embeddings
from nearkin.runs import bulk
from nearkin.runs.bulk import Batch, Part, Source, parts_of
from tests.cli.inprocess import invoke
from tests.raycluster import lose, one_left, stop_here, two_nodes

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),  # Ray's own: sockets and processes that it leaves to the collector
]
ray = pytest.importorskip("ray", reason="pip install 'nearkin[scale]'")


@dataclass(frozen=True)
class Wrapped:
    """A part of the same name and content."""

    part: Part

    @property
    def name(self) -> str:
        """That of the part."""
        return self.part.name

    @property
    def content(self) -> str:
        """That of the part."""
        return self.part.content


@dataclass(frozen=True)
class Deadly(Wrapped):
    """A part whose worker is killed in the middle of it, once; it notes which processes have begun it."""

    notes: Path

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """Those of the part."""
        with open(self.notes / self.name, "a") as file:
            file.write(f"{os.getpid()}\n")
        for batch in self.part.batches(size, on_skip):
            yield batch
            if len((self.notes / self.name).read_text().split()) == 1:
                os.kill(os.getpid(), signal.SIGKILL)


@dataclass(frozen=True)
class Doomed(Wrapped):
    """A part that is never done on one of the nodes, and waits elsewhere until that node has begun some part."""

    node: str
    mark: Path

    def batches(self, size: int, on_skip: OnSkip) -> Iterator[Batch]:
        """Those of the part."""
        for batch in self.part.batches(size, on_skip):
            stop_here(self.node, self.mark)
            yield batch


@pytest.fixture(scope="module")
def cluster() -> Iterator[tuple[Any, Any]]:
    """Two nodes with a core each; the test's process is connected to them."""
    with two_nodes(__name__, "tests.raycluster") as both:
        yield both


def test_same_vectors_and_a_killed_worker_loses_nothing(
    run_and_shards: tuple[Path, str], tmp_path: Path, cluster: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = run_and_shards
    given = ("embed", str(run), source, "--device", "cpu", "-o")
    invoke(*given, str(tmp_path / "local"))
    notes = tmp_path / "notes"
    notes.mkdir()

    def deadly(found: Source) -> list[Part]:
        first, *rest = parts_of(found)
        return [Deadly(first, notes), *rest]

    monkeypatch.setattr(bulk, "parts_of", deadly)
    text = invoke(*given, str(tmp_path / "ray"), "--engine", "ray")
    assert "30 vectors in 3 new parts" in text
    (begun,) = [file.read_text().split() for file in notes.iterdir()]
    assert len(set(begun)) == 2 and str(os.getpid()) not in begun  # killed, and done again by another worker
    local, over_ray = Embeddings.load(tmp_path / "local"), Embeddings.load(tmp_path / "ray")
    assert np.allclose(local.Z, over_ray.Z, rtol=1e-5, atol=1e-6)
    assert local.ids.tolist() == over_ray.ids.tolist() and local.names() == over_ray.names()
    assert sorted(p.name for p in (tmp_path / "ray").iterdir()) == sorted(
        p.name for p in (tmp_path / "local").iterdir()
    )
    # A damaged shard is one line here too, and what is there is left alone.
    monkeypatch.undo()
    assert "3 parts were there" in invoke(*given, str(tmp_path / "ray"), "--engine", "ray")
    (tmp_path / "bad.tar").write_bytes(b"no tar" * 500)
    bad = invoke("embed", str(run), str(tmp_path / "bad.tar"), "-o", str(tmp_path / "b"), "--engine", "ray", code=3)
    assert "1 of 1 parts cannot be read" in bad and "not a readable tar" in bad


def test_a_lost_node_loses_nothing(
    run_and_shards: tuple[Path, str], tmp_path: Path, cluster: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, source = run_and_shards
    given = ("embed", str(run), source, "--device", "cpu", "-o")
    invoke(*given, str(tmp_path / "local"))
    mark = tmp_path / "mark"
    both, second = cluster
    monkeypatch.setattr(
        bulk, "parts_of", lambda found: [Doomed(part, second.node_id, mark) for part in parts_of(found)]
    )
    thread = lose(both, second, mark.exists)
    text = invoke(*given, str(tmp_path / "ray"), "--engine", "ray")
    thread.join()
    assert "30 vectors in 3 new parts" in text
    assert one_left()
    local, over_ray = Embeddings.load(tmp_path / "local"), Embeddings.load(tmp_path / "ray")
    assert np.allclose(local.Z, over_ray.Z, rtol=1e-5, atol=1e-6) and local.ids.tolist() == over_ray.ids.tolist()
    assert not list((tmp_path / "ray").glob("*.tmp"))
