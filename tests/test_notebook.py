"""Notebook HTML: well-formed, escaped, points inside the picture."""

from __future__ import annotations

from xml.etree import ElementTree

import numpy as np

from nearkin.notebook import facts_html, scatter_html


def test_facts_are_escaped() -> None:
    root = ElementTree.fromstring(facts_html({"<a>": "&", "n": 3}))
    assert ["".join(cell.itertext()) for cell in root.iter() if cell.tag in ("th", "td")] == ["<a>", "&", "n", "3"]


def test_points_lie_inside_and_groups_have_colours() -> None:
    xy = np.random.default_rng(0).normal(size=(30, 2)) * [1000, 1e-3]
    root = ElementTree.fromstring(scatter_html(xy, [None, "a", "b"] * 10, side=100))
    circles = list(root.iter("circle"))
    assert len(circles) == 30 and len({c.get("fill") for c in circles}) == 3
    assert all(0 <= float(c.get(axis) or -1) <= 100 for c in circles for axis in ("cx", "cy"))
    assert "nan" not in scatter_html(np.ones((3, 2)), [None] * 3)
