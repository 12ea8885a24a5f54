"""Networks and model folders; no data sets, no training."""
