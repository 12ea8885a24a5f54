"""Alignment: video and text in one space."""
