"""Shared fixtures: real data where it is to be had."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cifar10_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real CIFAR-10 test split as class folders of PNGs; skips where it is absent."""
    given = os.environ.get("NEARKIN_DATA")
    if given and (Path(given) / "cifar10").is_dir():
        return Path(given) / "cifar10"
    archives = sorted((Path(__file__).parents[2] / "shared" / "data").glob("cifar10-test.zip"))
    if not archives:
        pytest.skip("no CIFAR-10: set NEARKIN_DATA to a folder that holds cifar10/")
    folder = tmp_path_factory.mktemp("cifar10")
    for archive in archives:
        with zipfile.ZipFile(archive) as handle:
            handle.extractall(folder)
    return folder
