"""Metrics on arrays: no models, no files, no hidden policy for absent classes. scikit-learn and others are oracles."""
