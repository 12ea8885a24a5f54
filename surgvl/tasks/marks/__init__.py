"""Published lists of answers that people have marked as correct or incorrect: one file a list."""
