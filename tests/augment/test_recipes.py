"""Recipes: values and validation."""

from __future__ import annotations

import dataclasses

import pytest

from nearkin.augment import Recipe, get_recipe
from nearkin.errors import ConfigError


def test_reference_is_the_studys() -> None:
    recipe = get_recipe("reference")
    assert (recipe.crop_scale, recipe.interpolation, recipe.flip_p) == ((0.2, 1.0), "bilinear", 0.5)
    assert (recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (recipe.jitter_p, recipe.gray_p) == (0.8, 0.2)
    assert (recipe.blur_p, recipe.blur_kernel, recipe.blur_sigma) == (0.5, 3, (0.1, 2.0))
    assert recipe.solarize_p == 0


def test_cifar_is_solo_learns() -> None:
    recipe = get_recipe("cifar")
    assert (recipe.crop_scale, recipe.interpolation, recipe.flip_p) == ((0.2, 1.0), "bicubic", 0.5)
    assert (recipe.brightness, recipe.contrast, recipe.saturation, recipe.hue) == (0.4, 0.4, 0.2, 0.1)
    assert (recipe.jitter_p, recipe.gray_p, recipe.solarize_p, recipe.blur_p) == (0.8, 0.2, 0.1, 0.0)


def test_is_frozen_and_hashable() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        get_recipe("none").flip_p = 1.0  # type: ignore[misc]
    assert len({Recipe("a"), Recipe("a"), Recipe("b")}) == 2


@pytest.mark.parametrize(
    "field, value",
    [
        ("crop_scale", (0.0, 1.0)),
        ("crop_scale", (0.5, 0.2)),
        ("crop_scale", (0.5, 1.5)),
        ("crop_scale", 0.5),
        ("crop_ratio", (-1.0, 1.0)),
        ("flip_p", 1.2),
        ("gray_p", "often"),
        ("jitter_p", float("nan")),
        ("brightness", -0.1),
        ("hue", 0.6),
        ("blur_kernel", 4),
        ("blur_kernel", 3.0),
        ("blur_sigma", (0.0, 1.0)),
        ("solarize_threshold", None),
        ("mean", (0.5, 0.5)),
        ("std", (0.2, 0.2, 0.0)),
        ("interpolation", "nearest"),
    ],
)
def test_illegal_values_are_one_line_errors(field: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        Recipe("mine", **{field: value})  # type: ignore[arg-type]
    message = str(caught.value)
    assert "\n" not in message
    assert field in message


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(ConfigError, match="unknown recipe 'refrence'. Did you mean 'reference'?"):
        get_recipe("refrence")
