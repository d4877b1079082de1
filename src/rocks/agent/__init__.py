"""The agent on a physical host: it reads a JSON request, calls devices, and replies."""
