"""Presets and method groups: every name is known, groups expand, nothing is asked for twice."""

from __future__ import annotations

import pytest

from nearkin.errors import ConfigError
from nearkin.methods import METHODS, create, known_settings, method_info
from nearkin.runs.fit import method_settings
from nearkin.study.presets import GROUPS, PRESETS, expand_methods, get_preset


def test_every_method_is_in_a_group_and_every_member_is_known() -> None:
    for group in GROUPS.values():
        for name in group:
            method_info(name)
    assert {name.split("@")[0] for name in GROUPS["all"]} == set(METHODS) - {"pretrained"}


def test_expansion() -> None:
    assert expand_methods("main, byol,vicreg") == (*GROUPS["main"], "byol")
    assert expand_methods("vicreg@lr=1e-3,pca") == ("vicreg@lr=1e-3", "pca")


@pytest.mark.parametrize("preset", sorted(PRESETS))
def test_a_presets_settings_fit_its_methods(preset: str) -> None:
    chosen = PRESETS[preset]
    for name in chosen.methods:
        create(name, method_settings(name, chosen.settings), (3, 32, 32))
    assert set(chosen.settings) <= set().union(*(known_settings(name) for name in chosen.methods))


def test_the_reference_is_shortened_on_a_cpu_only() -> None:
    settings, subset = get_preset("reference").on("cpu")
    assert (settings["epochs"], subset) == (10, 10_000)
    settings, subset = get_preset("reference").on("cuda")
    assert (settings["epochs"], subset) == (30, None)


def test_unknown_preset() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'quick'"):
        get_preset("quik")
