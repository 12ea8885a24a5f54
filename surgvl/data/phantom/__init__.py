"""The phantom: rendered operations with exact labels."""
