"""Picture sheets: rows of thumbnails with captions as one self-contained HTML file. It computes nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup
from numpy.typing import NDArray

from nearkin.fileio import write_text
from nearkin.report.embed import png_uri

_ASSETS = Path(__file__).parent / "assets"


@dataclass(frozen=True)
class Thumbnail:
    """One thumbnail: image uint8 (3, H, W), a short caption below it, a longer text on hover; ``mark`` frames it."""

    image: NDArray[np.uint8]
    caption: str = ""
    hover: str = ""
    mark: bool = False


@dataclass(frozen=True)
class Row:
    """A line of thumbnails. ``title`` and ``note`` stand before it."""

    title: str
    cells: Sequence[Thumbnail]
    note: str = ""


@dataclass(frozen=True)
class Section:
    """A heading, a paragraph and rows."""

    title: str
    rows: Sequence[Row]
    text: str = ""


def write_sheet(path: Path, title: str, sections: Sequence[Section], *, text: str = "") -> Path:
    """Write the sheet to ``path`` by atomic rename and return the path. Raises OutputError when the disk refuses."""
    environment = Environment(
        loader=FileSystemLoader(_ASSETS),
        autoescape=select_autoescape(default=True),
        trim_blocks=True,
        lstrip_blocks=True,
    )
    css = Markup((_ASSETS / "style.css").read_text(encoding="utf-8"))
    html = environment.get_template("sheet.html.j2").render(
        title=title, text=text, sections=sections, css=css, uri=png_uri
    )
    write_text(path, html)
    return path
