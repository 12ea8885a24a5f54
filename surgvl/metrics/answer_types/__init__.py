"""Types of answers: each file verifies the truth, reads a reply, and compares the two."""
