"""Commands that undo what is under way."""
