"""Alignment: video and sentences in one space."""
