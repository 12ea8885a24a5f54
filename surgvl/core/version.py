"""The version of surgvl."""

__version__ = "0.1.0"
