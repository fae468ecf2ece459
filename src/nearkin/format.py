"""Numbers as people read them, text for Markdown, and small pieces of HTML for notebooks, everything escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any


def three_digits(value: float, sign: str = "") -> str:
    """Three significant digits, and whole numbers from 1,000 on: 0.0123, 12.3, 1,234. ``sign``: "+" to show plus signs."""
    return f"{value:{sign},.0f}" if abs(value) >= 999.5 else f"{value:{sign}.3g}"


if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# The colours of charts, maps and the explorer. Eleven that stay apart for colour-blind readers, on white
# and on black: the six of Paul Tol's "bright" scheme, and five that keep at least the smallest distance of those six under
# simulated colour blindness (tests/test_format.py).
PALETTE = (
    "#4477AA",
    "#EE6677",
    "#228833",
    "#CCBB44",
    "#66CCEE",
    "#AA3377",
    "#FFBB88",
    "#99CCBB",
    "#AA88FF",
    "#7733CC",
    "#5500FF",
)
_GREY = "#888888"


def markdown_text(text: str) -> str:
    """``text`` escaped for Markdown: it neither breaks a table nor becomes HTML."""
    return text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " ")


def facts_html(facts: Mapping[str, Any]) -> str:
    """A two-column table: name, value."""
    rows = "".join(
        f"<tr><th style='text-align:left'>{html.escape(str(name))}</th>"
        f"<td style='text-align:left'>{html.escape(str(value))}</td></tr>"
        for name, value in facts.items()
    )
    return f"<table>{rows}</table>"


def scatter_html(xy: NDArray[np.floating[Any]], groups: Sequence[str | None], side: int = 260) -> str:
    """Points (N, 2) as an SVG of ``side`` pixels; one colour per group, None in grey, the name as a tooltip."""
    low, high = xy.min(axis=0), xy.max(axis=0)
    scaled = 6 + (side - 12) * (xy - low) / ((high - low).max() or 1.0)
    names = sorted({name for name in groups if name is not None})
    colour = {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(names)}
    dots = "".join(
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2' fill='{_GREY if name is None else colour[name]}' fill-opacity='.7'>"
        f"<title>{html.escape(name or '')}</title></circle>"
        for (x, y), name in zip(scaled.tolist(), groups, strict=True)
    )
    return f"<svg width='{side}' height='{side}' viewBox='0 0 {side} {side}' role='img'>{dots}</svg>"


def curves_html(title: str, curves: Mapping[str, Sequence[tuple[float, float]]], width: int = 300) -> str:
    """Named curves of (epoch, value) as an SVG ``width`` pixels wide: a legend, the ends of both axes as text."""
    points = [point for curve in curves.values() for point in curve]
    if not points:
        return ""
    height, left, top, bottom = 170, 56, 34, 18
    (x0, x1), (y0, y1) = ((min(values), max(values)) for values in zip(*points, strict=True))

    def place(x: float, y: float) -> str:
        across = (x - x0) / ((x1 - x0) or 1.0)
        up = (y - y0) / ((y1 - y0) or 1.0)
        return f"{left + (width - left - 8) * across:.1f},{height - bottom - (height - top - bottom) * up:.1f}"

    def text(x: int, y: int, words: str, more: str = "") -> str:
        return f"<text x='{x}' y='{y}' font-size='11' fill='currentColor' {more}>{html.escape(words)}</text>"

    body = text(left, 12, title, "font-weight='bold'")
    for k, (name, curve) in enumerate(curves.items()):
        colour = PALETTE[k % len(PALETTE)]
        body += text(left + 60 * k, 27, name, f"style='fill:{colour}'")
        body += f"<polyline points='{' '.join(place(x, y) for x, y in curve)}' fill='none' stroke='{colour}' stroke-width='1.5'/>"
        body += "".join(
            f"<circle cx='{place(x, y).split(',')[0]}' cy='{place(x, y).split(',')[1]}' r='2' fill='{colour}'/>"
            for x, y in curve[-1:]
        )
    body += text(left - 4, top + 8, f"{y1:.4g}", "text-anchor='end'")
    body += text(left - 4, height - bottom, f"{y0:.4g}", "text-anchor='end'")
    body += text(left, height - 4, f"{x0:g}")
    body += text(width - 8, height - 4, f"epoch {x1:g}", "text-anchor='end'")
    return f"<svg width='{width}' height='{height}' viewBox='0 0 {width} {height}' role='img'>{body}</svg>"
