"""surgvl: ask, search and measure surgical video."""

__version__ = "0.1.0"
