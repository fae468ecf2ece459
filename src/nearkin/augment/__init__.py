"""Random views: batched tensor augmentations with parameters per image."""

from __future__ import annotations

from nearkin.augment.recipes import RECIPES, Recipe, get_recipe
from nearkin.augment.views import ViewParameters, make_views, normalize, render, sample_view

__all__ = [
    "RECIPES",
    "Recipe",
    "ViewParameters",
    "get_recipe",
    "make_views",
    "normalize",
    "render",
    "sample_view",
]
