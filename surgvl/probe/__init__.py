"""Probes of frozen encoders: tokens computed once, a small readout for all labels, scores by video."""
