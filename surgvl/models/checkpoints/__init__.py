"""Weights of others: reading, naming and converting them."""
