"""Small pieces of HTML for notebooks: a table of facts and a scatter plot as inline SVG, everything escaped."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Okabe and Ito's colours, which most colour-blind readers can tell apart; grey for what has no group.
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#f0e442", "#000000")
_GREY = "#888888"


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
    colour = {name: _COLOURS[k % len(_COLOURS)] for k, name in enumerate(names)}
    dots = "".join(
        f"<circle cx='{x:.1f}' cy='{y:.1f}' r='2' fill='{_GREY if name is None else colour[name]}' fill-opacity='.7'>"
        f"<title>{html.escape(name or '')}</title></circle>"
        for (x, y), name in zip(scaled.tolist(), groups, strict=True)
    )
    return f"<svg width='{side}' height='{side}' viewBox='0 0 {side} {side}' role='img'>{dots}</svg>"
