"""The diagnosis names each failure from the numbers that show it."""

from __future__ import annotations

from typing import Any

import pytest

from nearkin.train.diagnose import diagnose

GOOD: dict[str, Any] = {
    "epoch": 1,
    "loss": 10.0,
    "projector_std": 0.9,
    "rankme": 60.0,
    "dim": 128,
    "variance": 0.2,
    "covariance": 1.0,
}


def epochs(*rows: dict[str, Any]) -> list[dict[str, Any]]:
    return [row | {"epoch": number} for number, row in enumerate(rows, start=1)]


@pytest.mark.parametrize(
    ("change", "state"),
    [
        ({"loss": 6.0}, "healthy"),
        ({"loss": 6.0, "projector_std": 0.001}, "collapsing"),
        ({"loss": 6.0, "rankme": 1.5}, "dimensional collapse"),
        ({"loss": 9.99}, "not learning"),
        ({"loss": 6.0, "knn": 0.1}, "not learning"),
    ],
)
def test_states(change: dict[str, Any], state: str) -> None:
    history = epochs(GOOD | {"knn": 0.2}, GOOD | {"loss": 9.0, "knn": 0.3}, GOOD | {"knn": 0.4} | change)
    got, message = diagnose(history, 1000)
    assert got == state
    if state != "healthy":
        assert "Raise" in message or "Try" in message


@pytest.mark.parametrize("change", [{"projector_std": 0.001}, {"rankme": 1.5}])
def test_advice_fits_methods_without_vicregs_terms(change: dict[str, Any]) -> None:
    line = {k: v for k, v in GOOD.items() if k not in ("variance", "covariance")}
    state, message = diagnose([line | change], 1000)
    assert state != "healthy"
    assert "nan" not in message and "_weight" not in message and "lr" in message


def test_the_term_that_shows_it_is_named() -> None:
    assert "variance term 0.2" in diagnose([GOOD | {"projector_std": 0.001}], 1000)[1]
    assert "covariance term 1" in diagnose([GOOD | {"rankme": 1.5}], 1000)[1]
    stuck = epochs(*(GOOD | {"invariance": value} for value in (0.5, 0.51, 0.52)))
    assert "invariance term 0.52 after 0.5" in diagnose(stuck, 1000)[1]


def test_a_first_evaluation_is_not_called_stuck() -> None:
    assert diagnose([GOOD], 1000)[0] == "healthy"


def test_a_few_steps_are_not_called_a_collapse() -> None:
    flat = epochs(*(GOOD | {"projector_std": std} for std in (0.001, 0.01)))
    assert diagnose(flat, 9)[0] == "too short" and "After 9 steps" in diagnose(flat, 9)[1]
    assert diagnose(flat, 50)[0] == "collapsing" and diagnose([GOOD], 9)[0] == "healthy"


def test_learning_is_judged_from_settled_statistics_only() -> None:
    early = epochs(*(GOOD | {"loss": loss} for loss in (9.0, 12.0, 11.0, 10.0)))
    assert diagnose(early, 4 * 20)[0] == "healthy"  # 9.0 was read after 20 steps, when BatchNorm's averages lagged
    assert diagnose(early, 4 * 50)[0] == "not learning"
