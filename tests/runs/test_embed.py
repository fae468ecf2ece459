"""Compiled embedding gives the plain vectors; what cannot be compiled is one line."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from nearkin.data.imageset import ImageSet, Splits
from nearkin.embeddings import Embeddings
from nearkin.errors import ConfigError
from nearkin.fileio import write_json
from nearkin.methods import FitContext, create
from nearkin.runs.bulk import embed_bulk
from nearkin.runs.embed import embed_run
from nearkin.runs.run import Run

RNG = np.random.default_rng(0)
SHAPE = (3, 32, 32)


def make_run(folder: Path, method: str = "vicreg") -> Path:
    settings = {"encoder": "fast-mini", "projector": (16, 8), "epochs": 1, "batch_size": 8, "precision": "fp32"}
    parts = [ImageSet(RNG.integers(0, 256, (16, *SHAPE), dtype=np.uint8), np.arange(16).astype(str)) for _ in range(3)]
    made = create(method, settings if method == "vicreg" else {}, SHAPE)
    made.fit(FitContext(Splits(*parts), folder, device="cpu", progress=False))
    write_json(folder / "config.json", {"method": method, "seed": 0, "settings": made.settings, "image_size": 32})
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Batch sizes that what was given to torch.compile has seen; nothing is compiled."""
    seen: list[int] = []

    def pretend(function: Callable[[Any], Any], **options: Any) -> Callable[[Any], Any]:
        def work(x: Any) -> Any:
            seen.append(len(x))
            return function(x)

        return work

    monkeypatch.setattr(torch, "compile", pretend)
    return seen


def test_compiled_code_sees_one_batch_size(run: Path, sizes: list[int]) -> None:
    plain, compiled = (Run(run).open(compiled=c) for c in (False, True))
    assert sizes == [512]  # compiled, and tried, before the first images come
    images = RNG.integers(0, 256, (513, *SHAPE), dtype=np.uint8)
    assert np.allclose(compiled(images), plain(images), atol=1e-5) and compiled(images[:3]).shape == (3, 512)
    assert set(sizes) == {512} and len(sizes) == 4


def test_parts_of_a_folder_are_made_alike(run: Path, tmp_path: Path, sizes: list[int]) -> None:
    more: dict[str, Any] = {"layer": None, "labels": None, "subset": 300, "strict": False, "progress": False}
    more |= {"device": "cpu"}
    quiet: Callable[[str], None] = lambda text: None  # noqa: E731
    made = [embed_run(run, "shapes", tmp_path / f"{c}.parquet", compiled=c, say=quiet, **more) for c in (False, True)]
    assert "compiled" not in made[0].provenance and made[1].provenance["compiled"] is True
    assert made[0].ids.tolist() == made[1].ids.tolist() and np.allclose(made[0].Z, made[1].Z, atol=1e-5)
    embed_bulk(run, "shapes", tmp_path / "parts", engine="local", compiled=True, **more)
    assert len(Embeddings.load(tmp_path / "parts")) == len(made[0])
    with pytest.raises(ConfigError, match="was begun with --compile; go on with it"):
        embed_bulk(run, "shapes", tmp_path / "parts", engine="local", **more)


def test_what_cannot_be_compiled(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="this method has nothing to compile"):
        Run(make_run(tmp_path, "raw-pixels")).open(compiled=True)

    def fails(function: Any, **options: Any) -> Any:
        def work(x: Any) -> Any:
            raise RuntimeError("no\nC++ compiler")

        return work

    monkeypatch.setattr(torch, "compile", fails)
    with pytest.raises(ConfigError, match=r"--compile failed \(no C\+\+ compiler\).*without --compile"):
        Run(run).open(compiled=True)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="needs a C++ compiler")
def test_really_compiled(run: Path) -> None:
    plain, compiled = (Run(run).open("projector", compiled=c) for c in (False, True))
    images = RNG.integers(0, 256, (600, *SHAPE), dtype=np.uint8)
    assert np.allclose(compiled(images), plain(images), atol=1e-4)
