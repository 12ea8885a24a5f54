"""Benchmarks of many runs: lists of `surgvl` commands that run side by side, and the tables made of them."""
