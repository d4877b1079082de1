"""Commands that look whether something is as it should be."""
