"""Commands that set a part of networks."""
