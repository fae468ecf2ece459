"""Commands save their results before they print them: whoever closes the pipe still has every file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from nearkin.cli import app
from nearkin.data.shapes import shapes
from nearkin.embeddings import Embeddings

N = 80


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("NEARKIN_CACHE", str(tmp_path / "cache"))
    part = shapes(n_train=N, n_test=8).train
    assert part.labels is not None
    Z = np.eye(8)[part.labels] + 0.1 * np.random.default_rng(0).normal(size=(N, 8))
    split = np.array(["train"] * 40 + ["val"] * 10 + ["test"] * 30)
    Embeddings(Z.astype(np.float32), part.ids, part.labels, split, part.classes).save(tmp_path / "e.parquet")
    monkeypatch.setattr("nearkin.data.sources.load_all", lambda *args, **settings: part)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("search", {"--json": "f.json", "--html": "f.html", "-o": "f.parquet"}),
        ("hubs", {"--json": "f.json", "--html": "f.html", "-o": "f.parquet"}),
        ("cluster --map pca", {"--json": "f.json", "--html": "f.html", "-o": "f.parquet", "--png": "f.png"}),
        ("factors", {"--json": "f.json", "--html": "f.html"}),
    ],
)
def test_files_are_whole_when_nobody_reads_what_is_printed(
    folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, files: dict[str, str]
) -> None:
    def closed(*args: object, **settings: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(Console, "print", closed)
    name, *flags = command.split()
    outputs = [part for flag, file in files.items() for part in (flag, str(folder / file))]
    done = CliRunner().invoke(app, [name, str(folder / "e.parquet"), *flags, "--images", "shapes", *outputs])
    assert isinstance(done.exception, BrokenPipeError), done.output
    assert {path.name for path in folder.glob("f.*")} == set(files.values())
