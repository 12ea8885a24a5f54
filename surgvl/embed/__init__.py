"""Vectors of videos and sentences, and how they are written."""
