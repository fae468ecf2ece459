"""The architecture, checked: imports go one way, and what reads embeddings never sees a model."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import nearkin

ROOT = Path(nearkin.__file__).parent
# What each package or module may import of nearkin. Everything may import errors.
ALLOWED: dict[str, set[str]] = {
    "errors": set(),
    "ahead": set(),
    "cores": set(),
    "rounded": set(),
    "atomic": set(),
    "runfolder": {"atomic"},
    "ray_tasks": set(),
    "vectors": set(),
    "embeddings": {"atomic", "notebook", "vectors"},
    "bulk": {"ahead", "atomic", "data", "embedder", "embeddings", "ray_tasks"},
    "shortlist": set(),
    "neighbors": {"shortlist"},
    "remembered": {"atomic", "neighbors"},
    "notebook": set(),
    "index": {"atomic", "neighbors", "ray_tasks"},
    "graph": {"neighbors"},
    "presets": set(),
    "data": {"ahead", "atomic"},
    "views": set(),
    "nets": set(),
    "train": {"ahead", "atomic"},
    "methods": {"data", "views", "nets", "train", "neighbors", "evaluate", "atomic", "graph"},
    "evaluate": {"analyze", "embeddings", "neighbors"},
    "analyze": {"embeddings", "neighbors", "atomic", "cores"},
    "lookup": {"data"},
    "anomalies": {"analyze", "cores", "embeddings", "data", "neighbors"},
    "embedder": {"methods", "atomic"},
    "export": {"atomic", "embedder", "methods", "__init__"},
    "export_timm": {"atomic", "export", "methods", "nets", "views", "__init__"},
    "inventory": {"atomic", "methods", "notebook"},
    "compare": {"atomic", "embeddings", "evaluate", "inventory", "methods", "rounded"},
    "uses": {
        "analyze",
        "anomalies",
        "atomic",
        "cores",
        "data",
        "embedder",
        "embeddings",
        "evaluate",
        "methods",
        "neighbors",
        "remembered",
    },
    "thumbnails": {"atomic", "data"},
    "study": {
        "thumbnails",
        "cores",
        "data",
        "embeddings",
        "evaluate",
        "methods",
        "neighbors",
        "remembered",
        "results",
        "runfolder",
        "atomic",
        "train",
        "uses",
    },
    "answers": {"evaluate", "train"},
    "results": {"answers", "cores", "methods", "evaluate", "presets", "train", "atomic"},
    "pipeline": {
        "train",
        "bulk",
        "data",
        "analyze",
        "embedder",
        "embeddings",
        "methods",
        "study",
        "runfolder",
        "atomic",
    },
    "report": {"atomic", "rounded"},
    "explore": {"analyze", "atomic", "data", "embedder", "embeddings", "lookup", "neighbors", "report"},
    "cli": {
        "presets",
        "study",
        "pipeline",
        "report",
        "rounded",
        "data",
        "embeddings",
        "evaluate",
        "export",
        "export_timm",
        "atomic",
        "train",
        "analyze",
        "anomalies",
        "compare",
        "embedder",
        "explore",
        "index",
        "inventory",
        "lookup",
        "neighbors",
        "runfolder",
    },
    "__main__": {"cli"},
    "losses": {"methods"},
    "estimators": {"atomic", "data", "methods", "runfolder", "train"},
    "__init__": {"embeddings", "estimators", "inventory", "losses"},
}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nearkin":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("nearkin.")}
    return found - {"errors", "__version__"}


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda p: p.relative_to(ROOT).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    package = path.relative_to(ROOT).parts[0].removesuffix(".py")
    extra = _imports(path) - ALLOWED[package] - {package}
    assert not extra, f"{package} must not import {sorted(extra)}"


def test_no_cycle() -> None:
    done: set[str] = set()
    while len(done) < len(ALLOWED):
        free = {name for name, needs in ALLOWED.items() if name not in done and needs <= done}
        assert free, f"cycle among {sorted(set(ALLOWED) - done)}"
        done |= free


def test_the_house_map_names_every_part_below_what_imports_it() -> None:
    text = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    table = re.search(r"^\| package or module .*\n\|[-|]+\n((?:\|.*\n)+)", text, re.M)
    assert table is not None
    seen: set[str] = set()
    for line in table[1].splitlines():
        names = re.findall(r"`(\w+)`", line.split("|")[1])
        for name in names:
            seen.add(name)
            assert ALLOWED[name] - {"__init__"} <= seen, f"{name} stands above {sorted(ALLOWED[name] - seen)}"
    assert seen == set(ALLOWED) - {"__init__", "__main__"}


def test_files_stay_short() -> None:
    lengths = {
        p.relative_to(ROOT).as_posix(): len(p.read_text(encoding="utf-8").splitlines()) for p in ROOT.rglob("*.py")
    }
    assert max(lengths.values()) <= 330, max(lengths, key=lambda name: lengths[name])


def test_no_pickle() -> None:
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "torch.load" not in text and "import pickle" not in text and "allow_pickle=True" not in text, path
