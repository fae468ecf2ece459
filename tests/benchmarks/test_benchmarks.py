"""Every benchmark runs in its quick form and prints its ratio beside the hardware; docs/performance.md names them all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.commands import ROOT

FOLDER = ROOT / "benchmarks"
# The others count failures, bytes or recall instead of time: docs/safety.md, scale.md and large.md have them.
OTHERS = {"costs", "explore_load", "fuzz", "index_recall", "kill", "store", "timing"}
NAMES = sorted({path.stem for path in FOLDER.glob("*.py")} - OTHERS)
TEXT = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_it_runs_and_says_on_what(name: str, tmp_path: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT / "src"), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(FOLDER / f"{name}.py"), "--quick"]
    found = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr[-2000:]
    assert re.search(r"cores|thread", found.stdout) and re.search(r"ratio|exponent", found.stdout)


def test_the_page_names_every_benchmark_and_no_other() -> None:
    assert sorted(set(re.findall(r"python benchmarks/(\w+)\.py", TEXT))) == NAMES


def test_each_row_has_a_figure_or_says_what_gives_it() -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("|") and "benchmarks/" in line]
    assert len(rows) >= len(NAMES)
    for row in rows:
        measured = row.split("|")[2]
        assert re.search(r"\d", re.sub(r"<!--.*?-->", "", measured)) or "<!-- measure:" in measured, row
