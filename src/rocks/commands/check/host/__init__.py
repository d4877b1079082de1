"""Commands that look whether hosts are as they should be."""
