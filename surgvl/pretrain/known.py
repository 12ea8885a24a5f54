"""All recipes: with this module their files are imported, so that they go by class names on the command line."""

import surgvl.pretrain
from surgvl.core.registry import discover
from surgvl.pretrain.base import Recipe

__all__ = ["RECIPES", "Recipe"]

RECIPES = discover(surgvl.pretrain, Recipe)
