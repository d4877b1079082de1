"""Commands that open something of hosts."""
