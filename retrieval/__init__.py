"""Moment retrieval: an index of clip vectors with a table of their moments."""
