"""A reader that goes away, as ``| head -1`` does, is no error: the command ends, and its files are there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.parametrize(
    "command", [("duplicates", "--threshold", "0.5", "--pairs"), ("search", "row:0", "--json"), ("hubs", "--json")]
)
def test_a_closed_pipe_costs_no_result(tmp_path: Path, command: tuple[str, ...]) -> None:
    np.save(tmp_path / "v.npy", np.random.default_rng(0).normal(size=(60, 4)))
    name, *options = command
    out = tmp_path / ("p.csv" if "--pairs" in options else "out.json")
    read, write = os.pipe()
    os.close(read)  # before a byte is written
    done = subprocess.run(
        [sys.executable, "-m", "nearkin", name, str(tmp_path / "v.npy"), *options, str(out)],
        stdout=write, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    os.close(write)
    assert done.returncode == 0, done.stderr
    assert out.stat().st_size > 100 and not done.stderr


def test_help_and_errors_into_a_closed_pipe() -> None:
    for args, code in ((["--help"], 0), (["search", "no-such-file"], 3)):
        read, write = os.pipe()
        os.close(read)
        done = subprocess.run([sys.executable, "-m", "nearkin", *args], stdout=write, stderr=write)
        os.close(write)
        assert done.returncode == code
