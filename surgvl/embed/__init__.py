"""Embedding vectors of videos and sentences, and the vectors folder."""
