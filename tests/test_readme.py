"""What the README tells people to type works: commands parse, the Python snippet runs and agrees with us."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import typer

from nearkin.cli import app
from nearkin.embeddings import Embeddings
from nearkin.evaluate.protocol import evaluate

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
COMMANDS = [
    line.split("#")[0].strip()
    for file in ("README.md", "LOG.md")
    for line in re.findall(
        r"^\s*`{0,3}(nearkin [^`\n]+)", (Path(__file__).parents[1] / file).read_text(encoding="utf-8"), re.M
    )
] + re.findall(r"`(nearkin (?:study|fit|embed|evaluate|map|report|data)[^`]*)`", README)


@pytest.mark.parametrize("command", sorted(set(COMMANDS)))
def test_command_parses(command: str) -> None:
    root = typer.main.get_command(app)
    args = shlex.split(command)[1:]
    with root.make_context("nearkin", list(args)) as context:
        name, sub, rest = root.resolve_command(context, [*context.protected_args, *context.args])  # type: ignore[attr-defined]
        assert sub is not None
        inner = sub.make_context(name, rest)
        if hasattr(sub, "resolve_command"):
            name, leaf, rest = sub.resolve_command(inner, [*inner.protected_args, *inner.args])
            leaf.make_context(name, rest)


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
    snippet = re.search(r"```python\n(.*?)```", README, re.S)
    assert snippet is not None
    exec(compile(snippet.group(1), "README.md", "exec"), {})
    printed = float(capsys.readouterr().out)
    assert printed == pytest.approx(evaluate(made, maps=False)[0]["linear"]["accuracy"], abs=0.03)
