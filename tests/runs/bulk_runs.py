"""A run trained on shards, and the shards."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cli.inprocess import invoke
from tests.data.conftest import tar_files, write_tar

COUNTS = (12, 7, 11)
SETTINGS = ("encoder=fast-mini", "projector=8,8", "batch_size=8", "precision=fp32")


def fit(data: str, out: Path) -> Path:
    """Train one epoch with the command line."""
    given = [part for pair in SETTINGS for part in ("--set", pair)]
    invoke("fit", data, "-o", str(out), "--epochs", "1", "--device", "cpu", "-q", *given)
    return out


def write_shards(folder: Path) -> str:
    """Three tars of 30 images in all, numbered on; their glob."""
    first = 0
    for k, n in enumerate(COUNTS):
        write_tar(folder / f"s-{k}.tar", tar_files(list(range(first, first + n))))
        first += n
    return str(folder / "*.tar")


@pytest.fixture(scope="module")
def run_and_shards(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A finished run, and the glob of the shards that it was trained on."""
    folder = tmp_path_factory.mktemp("bulk")
    source = write_shards(folder / "shards")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(os.environ, "NEARKIN_CACHE", str(folder / "cache"))  # type: ignore[arg-type]
        return fit(source, folder / "run"), source
