"""Archives of one's own: a folder that knows its recordings, model, vectors, index, case details, labels and clips."""
