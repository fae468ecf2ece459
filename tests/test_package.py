"""The package: what it says of itself, and (slow) that its wheel is the same twice and works in a fresh environment."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


def test_dependencies_are_few_and_bounded_on_both_sides() -> None:
    assert len(PROJECT["dependencies"]) <= 20
    for text in PROJECT["dependencies"]:
        assert re.search(r">=\d", text) and re.search(r"<\d", text), text


def test_python_versions_and_licence_are_stated() -> None:
    assert PROJECT["requires-python"].startswith(">=3.11")
    assert {f"Programming Language :: Python :: 3.{minor}" for minor in (11, 12, 13)} <= set(PROJECT["classifiers"])
    assert PROJECT["license"] == "BSD-3-Clause" and (ROOT / "LICENSE").is_file()


def test_every_direct_dependency_stands_in_the_list_of_licences() -> None:
    page = (ROOT / "docs" / "licences.md").read_text(encoding="utf-8")
    extras = (PROJECT["optional-dependencies"][name] for name in ("baselines", "export", "explore"))
    for text in (*PROJECT["dependencies"], *(text for extra in extras for text in extra)):
        name = re.split(r"[<>=\[; ]", text)[0].lower().replace("_", "-")
        assert f"| {name} |" in page, f"{name}: run tools/licences.py"


@pytest.mark.slow
def test_the_wheel_is_the_same_twice_and_works_in_a_fresh_environment(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tools" / "package.py"), "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=590,
    )
    if done.returncode and re.search(r"dns error|failed to (fetch|connect)|connection|timed out", done.stderr, re.I):
        pytest.skip(
            f"no network: the build backend or the dependencies cannot be fetched ({done.stderr.strip()[-200:]})"
        )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("twice the same") == 2 and "nearkin data info shapes" in done.stdout
    assert {path.suffix for path in tmp_path.iterdir()} == {".whl", ".gz"}
