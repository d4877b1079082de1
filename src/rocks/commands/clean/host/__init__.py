"""Commands that clean up what hosts have."""
