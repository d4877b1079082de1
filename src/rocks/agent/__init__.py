"""The agent on a physical host: it reads a JSON request, calls the `host/` part of a room, and replies."""
