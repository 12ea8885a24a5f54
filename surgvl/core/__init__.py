"""What every room stands on: files, errors, results, names; no mathematics and no torch."""
