"""Chat: a language model that answers questions about clips."""
