"""Which runs a study has: needed methods first, seeds only where the result depends on them."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.errors import DataError
from nearkin.methods import allowed_by_labels, planned_runs, rank, without_repeats


def test_planned_runs() -> None:
    assert planned_runs(("ngn", "pca"), (0, 3)) == [
        ("vicreg", 0), ("ngn", 0), ("pca", 0), ("vicreg", 3), ("ngn", 3),
    ]  # fmt: skip
    assert planned_runs(("le-pixels", "le-random"), (0, 1)) == [
        ("le-pixels", 0), ("random-init", 0), ("le-random", 0), ("random-init", 1), ("le-random", 1),
    ]  # fmt: skip


def test_a_variant_that_changes_nothing_is_run_once() -> None:
    names = ("lo", "lo@batch_size=256", "lo@batch_size=64", "lo-naive@batch_size=256", "lo@batch_size=256+lr=1e-3")
    left = ("lo", "lo@batch_size=64", "lo-naive", "lo@batch_size=256+lr=1e-3")
    assert without_repeats(names, {"batch_size": 256}) == left
    assert without_repeats(names, {}) == names


def test_a_variant_of_what_the_method_fixes_is_kept() -> None:
    names = ("vicreg-novar", "vicreg-novar@variance_weight=25", "lo-naive@code_per=view")
    assert without_repeats(names, {"variance_weight": 25}) == (*names[:2], "lo-naive")


def test_without_every_label_methods_that_read_them_are_left_out() -> None:
    names = ("vicreg", "supervised", "ngn-oracle", "ngn-filtered", "ngn@neighbors_from=labels", "hog")
    assert allowed_by_labels(names, np.array([0, 1, 0])) == names
    for labels in (None, np.array([0, -1, 0])):
        assert allowed_by_labels(names, labels) == ("vicreg", "hog")
    with pytest.raises(DataError, match="supervised: training needs a label for every training image"):
        allowed_by_labels(("supervised",), None)


def test_variants_are_sorted_by_their_value() -> None:
    names = ["lo", "lo@batch_size=64", "lo@batch_size=64+lr=0.01", "lo@batch_size=128", "lo@batch_size=512"]
    names += ["lo-naive", "lo-naive@lr=0.02", "lo-naive@lr=0.1"]
    assert sorted(reversed(names), key=rank) == names
