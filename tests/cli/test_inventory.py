"""nearkin runs and nearkin doctor: what they print, and the exit code."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from typer.testing import CliRunner

from nearkin.cli import app
from tests.cli.inprocess import invoke
from tests.runs.conftest import made, study

__all__ = ["made", "study"]


def test_runs_lists_and_names_what_is_broken(study: Path, tmp_path: Path) -> None:
    text = invoke("runs", str(tmp_path), "--json", str(tmp_path / "runs.json"))
    assert "2 of 2 runs done, finished" in text.replace("\n", " ") and "1 study and 2 runs below" in text
    (study / "runs/vicreg-s0/done.json").write_text('{"digest": ""}')
    shutil.copytree(study / "runs/raw-pixels-s0", tmp_path / "single")
    text = invoke("runs", str(tmp_path), "--json", str(tmp_path / "runs.json"))
    assert "1 broken" in text and "single runs" in text
    found = json.loads((tmp_path / "runs.json").read_text())
    assert [run["state"] for run in found["studies"][0]["runs"]] == ["finished", "broken"]
    assert "no folder" in invoke("runs", str(tmp_path / "none"), code=3)


def test_doctor_exits_1_only_when_something_is_broken(study: Path) -> None:
    assert "0 broken, 0 warnings" in invoke("doctor", str(study))
    (study / "runs/vicreg-s0/x.tmp").write_text("")
    assert "0 broken, 1 warnings" in invoke("doctor", str(study))
    os.truncate(study / "runs/vicreg-s0/weights.safetensors", 1000)
    done = CliRunner().invoke(app, ["doctor", str(study)])
    assert done.exit_code == 1 and "To do: delete" in done.output and "1 broken" in done.output


def test_neither_command_imports_torch() -> None:
    code = "import sys, nearkin.runs.check, nearkin.runs.run, nearkin.runs.output; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_help_names_every_preset_and_wraps_paragraphs_by_itself() -> None:
    from nearkin.study.presets import PRESETS

    text = " ".join(invoke("study", "--help").replace("│", " ").split())
    assert all(name in text.split("--preset")[1].split("--methods")[0] for name in PRESETS)
    lines = [line.strip() for line in invoke("embed", "--help").splitlines()]
    assert any(line.startswith("Into a folder, it goes part by part") and len(line) > 60 for line in lines)
