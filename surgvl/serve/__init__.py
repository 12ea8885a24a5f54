"""Serving: vLLM engines for the chat and the video-text model, the gateway in front of them, and the client."""
