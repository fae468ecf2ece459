"""The documentation site, by Sphinx: make docs -> site/index.html. It needs no network, neither to build nor to read.

Pages are Markdown as GitHub shows it (MyST); the API comes from the docstrings. Two things are put in while a page is read: the
Markdown files of the repository's root, and the options of every command.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "src"))  # these sources, whatever is installed
ROOT_PAGES = {"CONTRIBUTING.md": "contributing", "CHANGELOG.md": "changelog", "LOG.md": "log"}
COMMANDS = "<!-- commands -->"

project = "nearkin"
html_title = "nearkin"
smartquotes = False  # Z' is a matrix, and -- begins a flag
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx_copybutton"]
exclude_patterns = ["_static"]
html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
# Colours of the report (src/nearkin/report/assets/style.css).
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#2a5db0",
        "color-brand-content": "#2a5db0",
        "color-brand-visited": "#2a5db0",
        "color-foreground-primary": "#1b1d21",
    },
    "dark_css_variables": {
        "color-brand-primary": "#8ab4f8",
        "color-brand-content": "#8ab4f8",
        "color-brand-visited": "#8ab4f8",
        "color-background-primary": "#14161a",
        "color-background-secondary": "#1d2026",
        "color-foreground-primary": "#e6e8ec",
    },
}
myst_heading_anchors = 4  # with GitHub's names, so that links work in both places
highlight_language = "text"  # indented blocks are equations
pygments_style = "default"
pygments_dark_style = "github-dark"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
python_use_unqualified_type_names = True
napoleon_attr_annotations = False  # docstrings say shapes and dtypes
napoleon_numpy_docstring = False
copybutton_exclude = ".linenos, .gp, .c1"  # the comments beside commands stay on the page


def command_reference() -> str:
    """Arguments and options of every command, as typer itself writes them in Markdown."""
    made = subprocess.run(
        [sys.executable, "-m", "typer", "nearkin.cli", "utils", "docs", "--name", "nearkin"],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"PYTHONPATH": str(ROOT / "src")},
    ).stdout
    return made[made.index("\n## ") :].replace("\n##", "\n###")  # below the page's own heading


def fill_in(app: Sphinx, docname: str, source: list[str]) -> None:
    """Make pages of the root's files, with links as seen from docs/, and list the commands."""
    text = source[0]
    for name, page in ROOT_PAGES.items():
        if docname == page:
            text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
    for name, page in ROOT_PAGES.items():
        text = re.sub(rf"\]\(((?:\.\./)*?)(?:\.\./)?{name}", rf"](\1{page}.md", text)
    if COMMANDS in text:
        text = text.replace(COMMANDS, command_reference())
    source[0] = text


def one_per_line(app: Sphinx, what: str, name: str, obj: object, options: object, lines: list[str]) -> None:
    """Docstrings name several arguments, attributes or errors in one line; the site gives each its own."""
    section = False
    out: list[str] = []
    for line in lines:
        if line and not line.startswith(" "):
            section = line in ("Args:", "Attributes:", "Raises:")
        parts = re.split(r"(?<=\.) (?=\w+(?:, \w+)*: )", line) if section else [line]
        out += [parts[0], *(f"    {part}" for part in parts[1:])]
    lines[:] = out


def dashes(app: Sphinx, doctree: nodes.document) -> None:
    """What Sphinx writes between an argument and its meaning becomes a dash."""
    for node in list(doctree.findall(nodes.Text)):
        if node.astext() == " -- ":
            node.parent.replace(node, nodes.Text(" – "))


def setup(app: Sphinx) -> None:
    """Sphinx calls this."""
    app.connect("doctree-read", dashes)
    app.connect("autodoc-process-docstring", one_per_line, priority=400)  # before napoleon
    app.connect("source-read", fill_in)
