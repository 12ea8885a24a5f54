"""The base of every other package: files, errors, results, names; imports no torch."""
