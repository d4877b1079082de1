"""Commands that clean up."""
