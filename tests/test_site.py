"""The documentation site builds without a warning, needs nothing from elsewhere, and lists every flag of every command."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from nearkin.cli import app
from tests.commands import ROOT


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    for name in ("sphinx", "furo", "myst_parser", "sphinx_copybutton"):
        pytest.importorskip(name)
    out = tmp_path_factory.mktemp("site")
    rule = re.search(r"^docs:.*\n\t\$\(BIN\)/python (.+)", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    assert rule is not None
    args = rule[1].replace("build/doctrees", str(out / "doctrees")).replace("docs site", f"docs {out / 'html'}")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *args.split()], cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    return out / "html"


@pytest.mark.slow
def test_every_page_is_there_and_loads_nothing_from_elsewhere(site: Path) -> None:
    wanted = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    made = {path.relative_to(site) for path in site.rglob("*.html")}
    assert wanted <= made
    loading = re.compile(
        r"""<(?:script|img|iframe|link)\b[^>]*?(?:src|href)=["'](?:https?:)?//|@import|url\(["']?(?:https?:)?//"""
    )
    for path in [*site.rglob("*.html"), *site.rglob("*.css")]:
        found = loading.search(path.read_text(encoding="utf-8"))
        assert found is None, f"{path.name}: {found and found[0]}"


@pytest.mark.slow
def test_pages_of_the_roots_files_hold_their_text(site: Path) -> None:
    text = (site / "contributing.html").read_text(encoding="utf-8")
    assert "The house" in text and 'href="log.html"' in text and 'href="reading-the-report.html"' in text


@pytest.mark.slow
def test_every_command_and_flag_is_listed(site: Path) -> None:
    page = (site / "command-line.html").read_text(encoding="utf-8")
    parts = dict(re.findall(r'<section id="nearkin-([\w-]+)">(.*?)(?=<section |</article>)', page, re.S))
    root = typer.main.get_command(app)
    for name, command in root.commands.items():  # type: ignore[attr-defined]
        text = re.sub(r"<[^>]+>", "", parts[name])
        flags = [flag for parameter in command.params for flag in parameter.opts if flag.startswith("--")]
        assert all(flag in text for flag in flags), name
