"""What the README tells people to type works: commands parse, the Python snippet runs and agrees with us."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from nearkin.embeddings import Embeddings
from nearkin.study.protocol import evaluate
from tests.commands import ROOT, commands_in, parse

README = (ROOT / "README.md").read_text(encoding="utf-8")
COMMANDS = {c for file in ("README.md", "LOG.md") for c in commands_in((ROOT / file).read_text(encoding="utf-8"))}


def test_commands_are_found() -> None:
    assert len(commands_in(README)) >= 8 and "nearkin data info photos/" in COMMANDS


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_command_parses(command: str) -> None:
    parse(command)


def test_snippet_agrees_with_our_probe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 4, 1200)
    Z = (1.2 * np.eye(4, 16)[y] + rng.normal(size=(1200, 16))).astype(np.float32)
    split = np.array(["train"] * 700 + ["val"] * 200 + ["test"] * 300)
    made = Embeddings(Z, np.arange(1200).astype(str), y, split, tuple("abcd"))
    made.save(tmp_path / "runs/demo/runs/vicreg-s0/embeddings/backbone.parquet")
    monkeypatch.chdir(tmp_path)
    tables = (ROOT / "docs/results/cifar10.md").read_text(encoding="utf-8")
    snippet = re.search(r"```python\n(.*?)```", tables, re.S)
    assert snippet is not None
    exec(compile(snippet.group(1), "cifar10.md", "exec"), {})
    printed = float(capsys.readouterr().out)
    linear = evaluate(made, maps=False)[0].linear
    assert linear is not None and printed == pytest.approx(linear.accuracy, abs=0.03)
