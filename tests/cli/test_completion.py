"""Completion as bash does it: the script that the command line prints, asked for the last word."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from nearkin.cli import options
from nearkin.methods import METHODS

COMPLETE = """
eval "$(nearkin --show-completion)"
for line in "$@"; do
  COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
  _nearkin_completion nearkin
  echo "${COMPREPLY[*]}"
done
"""


def test_bash_completes_commands_flags_and_values() -> None:
    script = Path(sys.executable).with_name("nearkin")
    if shutil.which("bash") is None or not script.exists():
        pytest.skip("needs bash and the installed command")
    lines = ["nearkin ev", "nearkin data i", "nearkin study --pre", "nearkin fit --method vicreg-no"]
    environment = os.environ | {"PATH": f"{script.parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", COMPLETE, "bash", *lines], capture_output=True, text=True, env=environment)
    found = [sorted(line.split()) for line in done.stdout.splitlines()]
    wanted = [["evaluate"], ["info", "ingest"], ["--preset"], ["vicreg-nocov", "vicreg-noinv", "vicreg-novar"]]
    assert found == wanted, done.stderr


def test_values_are_those_that_are_legal() -> None:
    assert set(options.complete_method("")) == set(METHODS)
    assert options.complete_preset("") == ["quick", "cpu", "hour", "reference", "full"]
    assert options.complete_preset("f") == ["full"] and options.complete_device("c") == ["cpu", "cuda"]
