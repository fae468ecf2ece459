"""Random views: batched tensor augmentations with parameters per image."""

from __future__ import annotations

from nearkin.views.pipeline import ViewParameters, make_views, normalize, render, sample_view
from nearkin.views.recipes import RECIPES, Recipe, get_recipe

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
