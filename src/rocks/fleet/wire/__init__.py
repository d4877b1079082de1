"""What the frontend and the agent on a host send each other. Pure."""
