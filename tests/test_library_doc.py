"""docs/library.md: its snippets run in order, and its table of parameters is the code's."""

from __future__ import annotations

import re

import numpy as np

import nearkin
from nearkin.estimators import COMMON
from tests.commands import ROOT

TEXT = (ROOT / "docs" / "library.md").read_text(encoding="utf-8")


def test_snippets_run_one_after_another() -> None:
    y = np.arange(64) % 2
    X = (np.random.default_rng(0).integers(0, 120, (64, 16, 16, 3)) + 100 * y[:, None, None, None]).astype(np.uint8)
    names = {"X": X, "y": y}
    for snippet in re.findall(r"```python\n(.*?)```", TEXT, re.S):
        exec(compile(snippet, "docs/library.md", "exec"), names)
    assert names["scores"].mean() > 0.9 and len(names["table"]) == 64  # type: ignore[attr-defined]
    assert names["spectral"].transform(names["Z"]).shape == (64, 2)  # type: ignore[attr-defined]


def test_parameters_and_names() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", TEXT, re.M))
    assert {name: repr(value).replace("'", '"') for name, value in COMMON.items()} == rows
    api = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    for name in set(nearkin.__all__) - {"losses"}:
        assert name in TEXT and (f"`{name}`" in api or f" nearkin.{name}\n" in api)
