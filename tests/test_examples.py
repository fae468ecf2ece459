"""The examples run, and what they print is what they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(name: str, *args: str) -> str:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *args], capture_output=True, text=True, timeout=600, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def numbers(pattern: str, text: str) -> list[float]:
    return [float(value) for value in re.findall(pattern, text)]


@pytest.mark.slow
def test_own_loop_learns() -> None:
    text = run("own_loop.py")
    before, after = numbers(r"kNN accuracy \w+: ([\d.]+)", text)
    assert after > before + 3, text


@pytest.mark.slow
def test_pipeline_beats_pca_and_prefers_the_backbone() -> None:
    text = run("pipeline.py")
    vicreg, pca = numbers(r"(?:VICReg|pixels) ([\d.]+) %", text)
    assert vicreg > pca and "'vicreg__layer': 'backbone'" in text, text


@pytest.mark.slow
def test_audit_finds_the_planted_flaw() -> None:
    text = run("audit.py")
    assert "dead dimensions: 50 %" in text and "800 vectors of 32 dimensions" in text
    assert numbers(r"linear probe: ([\d.]+)", text)[0] > 60


@pytest.mark.slow
def test_audit_takes_anybodys_file(tmp_path: Path) -> None:
    np.save(tmp_path / "z.npy", np.random.default_rng(0).normal(size=(300, 8)))
    text = run("audit.py", str(tmp_path / "z.npy"))
    assert "300 vectors of 8 dimensions" in text and "probe" not in text and "held out as test" in text


def test_every_example_is_run() -> None:
    ours = Path(__file__).read_text(encoding="utf-8")
    assert all(f'run("{path.name}"' in ours for path in EXAMPLES.glob("*.py"))
