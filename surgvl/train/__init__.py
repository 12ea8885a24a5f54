"""One training loop, and its parts."""
