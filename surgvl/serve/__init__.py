"""Serving: vLLM's engines for the chat model and the video-text model, the gate before them, and the client."""
