"""Which folders are studies and runs."""

from __future__ import annotations

import os
from pathlib import Path

from nearkin.errors import DataError
from nearkin.runs.readers import Damage, read_object

_RUN_FILES = ("done.json", "evaluation.json", "weights.safetensors", "checkpoint.safetensors", "metrics.jsonl")
_SKIP = {"node_modules", "__pycache__", "site-packages"}


def is_study(folder: Path) -> bool:
    """Whether ``folder`` is a study's: it has a study.json, or runs and results."""
    if (folder / "study.json").is_file():
        return True
    return (folder / "runs").is_dir() and ((folder / "data.json").is_file() or (folder / "results.json").is_file())


def is_run(folder: Path) -> bool:
    """Whether ``folder`` is a run's: a config.json with method, seed and settings, or a damaged one beside a run's files.

    Other tools write files named config.json too; those are no runs.
    """
    try:
        config = read_object(folder / "config.json")
        return {"method", "seed", "settings"} <= set(config)
    except Damage as damage:
        present = sum((folder / name).is_file() for name in _RUN_FILES)
        return present >= (2 if damage.missing else 1)


def runs_of(study: Path) -> list[Path]:
    """The run folders of a study, by name. Every folder in runs/ counts, however damaged."""
    try:
        return sorted(path for path in (study / "runs").iterdir() if path.is_dir())
    except OSError:
        return []


def find(folder: Path) -> tuple[list[Path], list[Path]]:
    """(studies, single runs) at or below ``folder``, sorted. Links are not followed; hidden folders are left out.

    Raises:
        DataError: no such folder.
    """
    if not folder.is_dir():
        raise DataError(f"no folder {folder}. Give a folder that holds studies or runs, such as the one given to -o.")
    studies, runs = [], []
    for name, below, _ in os.walk(folder):
        here = Path(name)
        if is_study(here):
            studies.append(here)
        elif is_run(here):
            runs.append(here)
        else:
            below[:] = [b for b in below if not b.startswith(".") and b not in _SKIP]
            continue
        below.clear()
    return sorted(studies), sorted(runs)
