"""Commands in Markdown files: found, and parsed without being run."""

from __future__ import annotations

import functools
import re
import shlex
from pathlib import Path
from typing import Any

import typer

from nearkin.cli import app

ROOT = Path(__file__).parents[1]


def commands_in(text: str) -> list[str]:
    """Every command of a Markdown text: lines of fenced code, and inline code of at least three words.

    Comments are cut off; a line with "..." is a pattern to fill in, no command.
    """
    fenced = re.findall(r"^```\w*\n(.*?)^```", text, re.M | re.S)
    before = r"(?:\w+=\S+ )*(?:torchrun .*?-m |python -m )?"  # variables and launchers
    lines = [
        line.split("#")[0] for block in fenced for line in re.findall(rf"^\s*{before}(nearkin (?!-).+)", block, re.M)
    ]
    inline = re.findall(r"`(nearkin [\w-]+ [^`]+)`", re.sub(r"^```.*?^```", "", text, flags=re.M | re.S))
    return sorted({" ".join(command.split()) for command in [*lines, *inline] if "..." not in command})


@functools.cache
def _root() -> Any:
    return typer.main.get_command(app)


def parse(command: str) -> tuple[str, dict[str, Any]]:
    """The sub-command's name and its parameters by name. Raises click's UsageError for what does not parse."""
    root = _root()
    args = shlex.split(command)[1:]
    with root.make_context("nearkin", list(args)) as context:
        first = getattr(context, "_protected_args", None) or getattr(context, "protected_args", [])
        name, leaf, rest = root.resolve_command(context, [*first, *context.args])
        inner = leaf.make_context(name, rest)
        if hasattr(leaf, "resolve_command"):
            name, leaf, rest = leaf.resolve_command(inner, [*inner._protected_args, *inner.args])
            inner = leaf.make_context(name, rest)
        return name, dict(inner.params)
