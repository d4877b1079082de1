"""Messages between machines: facts, agent calls, image storage. Pure."""
