"""Networks and their folders: torch in, torch out; no data sets, no training."""
