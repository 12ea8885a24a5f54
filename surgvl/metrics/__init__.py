"""Metrics on arrays: no model, no file, no hidden rule for absent classes. scikit-learn and ivtmetrics are oracles."""
