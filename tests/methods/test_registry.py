"""Names, aliases and variants of methods; which runs a study has and in which order."""

from __future__ import annotations

import numpy as np
import pytest

from nearkin.errors import ConfigError, DataError
from nearkin.methods import (
    METHODS,
    allowed_by_labels,
    create,
    default_settings,
    method_class,
    method_info,
    planned_runs,
    rank,
    with_needs,
    without_repeats,
)


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


def test_needs_come_first_and_once() -> None:
    assert with_needs(("ngn", "pca", "vicreg", "le-random")) == ("vicreg", "ngn", "pca", "random-init", "le-random")


def test_an_alias_is_its_variant() -> None:
    """The same class and settings, with values of the settings' types, under a name of its own."""
    variants = {
        "vicreg-novar": "vicreg@variance_weight=0",
        "vicreg-4views": "vicreg@n_views=4",
        "ngn-augmented": "ngn@augment=true",
        "ngn-oracle": "ngn@neighbors_from=labels",
        "lo-naive": "lo@code_per=view",
        "le-random": "le-pixels@features_from=random",
    }
    for name, variant in variants.items():
        own, other = METHODS[name], method_info(variant)
        assert method_class(name) is method_class(variant) and own.uses_labels == other.uses_labels
        assert default_settings(name) == default_settings(variant) != default_settings(variant.partition("@")[0])
        assert create(name, {}, (3, 16, 16)).settings == create(variant, {}, (3, 16, 16)).settings
        assert own.title != other.title
    assert default_settings("vicreg-novar")["variance_weight"] == 0.0
    assert type(default_settings("vicreg-novar")["variance_weight"]) is float
    assert default_settings("ngn-augmented")["augment"] is True and default_settings("vicreg-4views")["n_views"] == 4
    assert METHODS["ngn-pixels"].needs == () and METHODS["ngn-cosine"].needs == ("vicreg",)


def test_variants_carry_their_settings() -> None:
    info = method_info("vicreg@invariance_weight=5+lr=1e-3")
    assert info.title == "VICReg, invariance_weight 5, lr 1e-3"
    assert (
        create("vicreg@invariance_weight=5", {"invariance_weight": 25}, (3, 16, 16)).settings["invariance_weight"]
        == 5.0
    )
    assert with_needs(("ngn@neighbors_k=10",)) == ("vicreg", "ngn@neighbors_k=10")
    for bad in ("vicreg@", "vicreg@lr", "vicreg@lr=1+", "vicreg@=1"):
        with pytest.raises(ConfigError, match="NAME@SETTING=VALUE"):
            method_info(bad)
    with pytest.raises(ConfigError, match="Did you mean 'vicreg'"):
        method_info("vicrg@lr=1")
    with pytest.raises(ConfigError, match="unknown setting"):
        create("vicreg@lrr=1", {}, (3, 16, 16))


def test_order_of_methods() -> None:
    """That of METHODS; variants behind their method, by number and not by text; what is unknown last."""
    names = ["vicreg", "lo", "lo@batch_size=64", "lo@batch_size=128", "lo-naive", "pca", "of-another-version"]
    assert sorted(reversed(names), key=rank) == sorted(names, key=rank)
    base = sorted(METHODS, key=rank)
    assert base == list(METHODS)
    found = sorted(reversed(names), key=rank)
    assert found[-1] == "of-another-version"
    assert found.index("lo") + 1 == found.index("lo@batch_size=64") == found.index("lo@batch_size=128") - 1
