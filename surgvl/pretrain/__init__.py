"""Pretraining: one file for each recipe."""
