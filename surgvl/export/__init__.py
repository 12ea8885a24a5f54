"""Timelines of videos as files: intervals with times of frames, and one file for each format."""
