"""The architecture, checked: imports go one way, and what reads embeddings never sees a model."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import nearkin

ROOT = Path(nearkin.__file__).parent
# What each package or module may import of nearkin. Everything may import errors, vectors and version.
ALLOWED: dict[str, set[str]] = {
    "augment": set(),
    "errors": set(),
    "fileio": set(),
    "folders": set(),
    "format": set(),
    "system": set(),
    "vectors": set(),
    "version": set(),
    "data": {"fileio", "system"},
    "nets": {"fileio"},
    "report": {"evaluate", "fileio", "folders", "format"},
    "search": {"fileio", "system"},
    "train": {"fileio", "folders", "system"},
    "embeddings": {"fileio", "folders", "format", "search"},
    "evaluate": {"fileio", "search"},
    "factors": {"data", "embeddings", "evaluate", "fileio", "report", "search"},
    "maps": {"embeddings", "evaluate", "fileio", "format", "search", "system"},
    "methods": {"augment", "data", "evaluate", "fileio", "folders", "nets", "search", "train"},
    "estimators": {"data", "fileio", "folders", "methods", "train"},
    "losses": {"methods"},
    "runs": {
        "data",
        "embeddings",
        "evaluate",
        "fileio",
        "folders",
        "format",
        "maps",
        "methods",
        "search",
        "system",
        "train",
    },
    "__init__": {
        "anomalies",
        "clusters",
        "duplicates",
        "embeddings",
        "estimators",
        "losses",
        "retrieval",
        "runs",
        "study",
    },
    "anomalies": {
        "data",
        "embeddings",
        "evaluate",
        "fileio",
        "folders",
        "maps",
        "methods",
        "report",
        "runs",
        "search",
        "system",
    },
    "clusters": {"data", "embeddings", "evaluate", "fileio", "folders", "maps", "report", "runs", "search"},
    "duplicates": {"data", "embeddings", "evaluate", "fileio", "folders", "report", "runs", "search", "vectors"},
    "export": {"augment", "fileio", "methods", "nets", "runs"},
    "retrieval": {"data", "embeddings", "evaluate", "factors", "fileio", "folders", "report", "runs", "search"},
    "explore": {
        "anomalies",
        "clusters",
        "data",
        "embeddings",
        "fileio",
        "folders",
        "maps",
        "report",
        "retrieval",
        "runs",
        "search",
    },
    "study": {
        "anomalies",
        "clusters",
        "data",
        "duplicates",
        "embeddings",
        "evaluate",
        "fileio",
        "folders",
        "format",
        "maps",
        "methods",
        "retrieval",
        "runs",
        "search",
        "system",
        "train",
    },
    "cli": {
        "anomalies",
        "clusters",
        "data",
        "duplicates",
        "embeddings",
        "evaluate",
        "explore",
        "export",
        "factors",
        "fileio",
        "folders",
        "format",
        "maps",
        "report",
        "retrieval",
        "runs",
        "search",
        "study",
        "train",
    },
    "__main__": {"cli"},
}


def _imports(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nearkin":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("nearkin.")}
    return found - {"errors", "vectors", "version"}


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


def _files_of(path: Path) -> set[str]:
    """The files of nearkin that a file imports, wherever in it, as paths below src/nearkin without a suffix."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "nearkin":
            base = ROOT.joinpath(*node.module.split(".")[1:])
            for name in node.names:
                parts = [base / name.name, base]
                found |= (
                    {p.relative_to(ROOT).as_posix() for p in parts if p.with_suffix(".py").exists()}
                    if base != ROOT
                    else {p.relative_to(ROOT).as_posix() for p in parts[:1] if p.with_suffix(".py").exists()}
                )
    return found


def test_no_two_files_import_each_other() -> None:
    """Also not in a ring, and not from inside a function: such files are one subject that was cut in two."""
    needs = {p.relative_to(ROOT).with_suffix("").as_posix(): _files_of(p) for p in sorted(ROOT.rglob("*.py"))}
    done: set[str] = set()
    while len(done) < len(needs):
        free = {name for name, files in needs.items() if name not in done and files - {name} <= done}
        assert free, f"files in a ring, or above one: {sorted(set(needs) - done)}"
        done |= free


def test_no_pickle() -> None:
    for path in ROOT.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert "import pickle" not in text and "allow_pickle=True" not in text, path
        for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
            if ast.unparse(call.func).endswith("torch.load"):  # reads tensors only, and runs nothing of the file
                assert any(key.arg == "weights_only" and ast.unparse(key.value) == "True" for key in call.keywords), (
                    path
                )


def test_no_two_classes_share_a_name() -> None:
    """A reader who meets a name in one file must not have to ask which class it means. Estimators and methods differ too."""
    where: dict[str, list[str]] = {}
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                where.setdefault(node.name, []).append(path.relative_to(ROOT).as_posix())
    assert not {name: files for name, files in where.items() if len(files) > 1}


def test_no_module_imports_a_private_name_of_another() -> None:
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "nearkin":
                private = [a.name for a in node.names if a.name.startswith("_") and not a.name.startswith("__")]
                assert not private, f"{path.relative_to(ROOT)} imports {private} of {node.module}"
