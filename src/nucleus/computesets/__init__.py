"""Sets of computes that the batch system places."""
