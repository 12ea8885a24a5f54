"""Data sets: readers of public layouts, the manifest that each becomes, and the clips that are drawn from it."""
