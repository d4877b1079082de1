"""Commands that start something of hosts."""
