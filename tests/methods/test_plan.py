"""Which runs a study has: needed methods first, seeds only where the result depends on them."""

from __future__ import annotations

from nearkin.methods.plan import planned_runs


def test_planned_runs() -> None:
    assert planned_runs(("ngn", "pca"), (0, 3)) == [
        ("vicreg", 0), ("ngn", 0), ("pca", 0), ("vicreg", 3), ("ngn", 3),
    ]  # fmt: skip
