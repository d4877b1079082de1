"""Commands that create something of hosts."""
