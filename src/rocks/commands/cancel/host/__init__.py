"""Commands that undo what is under way with hosts."""
