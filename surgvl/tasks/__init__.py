"""Benchmark tasks: predictions in, results out, no model involved."""
