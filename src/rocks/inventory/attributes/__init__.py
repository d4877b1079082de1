"""Attributes of the four scopes: what is known of them, their forms, their rows."""
