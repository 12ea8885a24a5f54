"""Third-party checkpoints: reading, key maps and conversion."""
