"""Commands that stop something of hosts."""
