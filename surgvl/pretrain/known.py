"""Imports all recipes, so that the command line can find them by class name."""

import surgvl.pretrain
from surgvl.core.registry import discover
from surgvl.pretrain.base import Recipe

__all__ = ["RECIPES", "Recipe"]

RECIPES = discover(surgvl.pretrain, Recipe)
