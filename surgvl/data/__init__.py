"""Data sets, their public layouts and labels, and the manifest they all become."""
